"""The joints of sensors and pose estimators: a table of names, their order in files, and chains of bones.

A chain names joints from the trunk outwards; the first one starts at the root. A chain with left joints stands for its
mirror image too. The order is that of the published documentation: Microsoft's three SDKs (NTU RGB+D has the second
one's), COCO's and OpenPose's keypoints, MediaPipe's pose landmarks, SMPL's kinematic tree. COCO and MediaPipe publish
lines to draw and no tree: which joint hangs on which is our reading there.
"""

from __future__ import annotations

_KINECT_V2 = (
    'SpineBase SpineMid Neck Head ShoulderLeft ElbowLeft WristLeft HandLeft ShoulderRight ElbowRight WristRight '
    'HandRight HipLeft KneeLeft AnkleLeft FootLeft HipRight KneeRight AnkleRight FootRight SpineShoulder HandTipLeft '
    'ThumbLeft HandTipRight ThumbRight',
    'SpineBase SpineMid SpineShoulder Neck Head',
    'SpineShoulder ShoulderLeft ElbowLeft WristLeft HandLeft HandTipLeft',
    'WristLeft ThumbLeft',
    'SpineBase HipLeft KneeLeft AnkleLeft FootLeft',
)
# Name: the joints in the order of the files, then chains.
TABLE = {
    'kinect_v1': (
        'HipCenter Spine ShoulderCenter Head ShoulderLeft ElbowLeft WristLeft HandLeft ShoulderRight ElbowRight '
        'WristRight HandRight HipLeft KneeLeft AnkleLeft FootLeft HipRight KneeRight AnkleRight FootRight',
        'HipCenter Spine ShoulderCenter Head',
        'ShoulderCenter ShoulderLeft ElbowLeft WristLeft HandLeft',
        'HipCenter HipLeft KneeLeft AnkleLeft FootLeft',
    ),
    'kgbd': (
        'Head ShoulderCenter ShoulderRight ShoulderLeft ElbowRight ElbowLeft WristRight WristLeft HandRight HandLeft '
        'Spine HipCenter HipRight HipLeft KneeRight KneeLeft AnkleRight AnkleLeft FootRight FootLeft',
        'HipCenter Spine ShoulderCenter Head',
        'ShoulderCenter ShoulderLeft ElbowLeft WristLeft HandLeft',
        'HipCenter HipLeft KneeLeft AnkleLeft FootLeft',
    ),
    'kinect_v2': _KINECT_V2,
    'ntu': _KINECT_V2,
    'azure_kinect': (
        'PELVIS SPINE_NAVEL SPINE_CHEST NECK CLAVICLE_LEFT SHOULDER_LEFT ELBOW_LEFT WRIST_LEFT HAND_LEFT HANDTIP_LEFT '
        'THUMB_LEFT CLAVICLE_RIGHT SHOULDER_RIGHT ELBOW_RIGHT WRIST_RIGHT HAND_RIGHT HANDTIP_RIGHT THUMB_RIGHT '
        'HIP_LEFT KNEE_LEFT ANKLE_LEFT FOOT_LEFT HIP_RIGHT KNEE_RIGHT ANKLE_RIGHT FOOT_RIGHT HEAD NOSE EYE_LEFT '
        'EAR_LEFT EYE_RIGHT EAR_RIGHT',
        'PELVIS SPINE_NAVEL SPINE_CHEST NECK HEAD NOSE',
        'HEAD EYE_LEFT',
        'HEAD EAR_LEFT',
        'SPINE_CHEST CLAVICLE_LEFT SHOULDER_LEFT ELBOW_LEFT WRIST_LEFT HAND_LEFT HANDTIP_LEFT',
        'WRIST_LEFT THUMB_LEFT',
        'PELVIS HIP_LEFT KNEE_LEFT ANKLE_LEFT FOOT_LEFT',
    ),
    'coco_17': (
        'nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist '
        'right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle',
        'nose left_eye left_ear',
        'nose left_shoulder left_elbow left_wrist',
        'left_shoulder left_hip left_knee left_ankle',
    ),
    'mediapipe_33': (
        'nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear '
        'mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky '
        'right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle '
        'right_ankle left_heel right_heel left_foot_index right_foot_index',
        'nose left_eye_inner left_eye left_eye_outer left_ear',
        'nose mouth_left',
        'nose left_shoulder left_elbow left_wrist left_index',
        'left_wrist left_pinky',
        'left_wrist left_thumb',
        'left_shoulder left_hip left_knee left_ankle left_heel',
        'left_ankle left_foot_index',
    ),
    'openpose_25': (
        'Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee LAnkle REye '
        'LEye REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel',
        'MidHip Neck Nose LEye LEar',
        'Neck LShoulder LElbow LWrist',
        'MidHip LHip LKnee LAnkle LBigToe LSmallToe',
        'LAnkle LHeel',
    ),
    'smpl_24': (
        'pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 left_foot '
        'right_foot neck left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow left_wrist '
        'right_wrist left_hand right_hand',
        'pelvis spine1 spine2 spine3 neck head',
        'spine3 left_collar left_shoulder left_elbow left_wrist left_hand',
        'pelvis left_hip left_knee left_ankle left_foot',
    ),
    # The hips hang on the neck, for there is no pelvis joint.
    'casia_b': (
        'Head Neck ShoulderRight ElbowRight WristRight ShoulderLeft ElbowLeft WristLeft HipRight KneeRight AnkleRight '
        'HipLeft KneeLeft AnkleLeft',
        'Neck Head',
        'Neck ShoulderLeft ElbowLeft WristLeft',
        'Neck HipLeft KneeLeft AnkleLeft',
    ),
}
