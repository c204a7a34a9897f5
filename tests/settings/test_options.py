"""Flags → options: defaults from the paper, what is filled in, what is refused, config.json and folder suffixes."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from sge_la.errors import UserError
from sge_la.settings.command_line import flags_again, parse_evaluate, parse_train
from sge_la.settings.names import encoder_suffix, options_of_suffix, recognition_suffix
from sge_la.settings.papers import ROWS, TASKS, facts


def test_defaults_are_the_originals():
    options = parse_train([])
    expected = {'dataset': 'BIWI', 'attention': 'LA', 'manner': 'ap', 'length': 6, 'gpu': '0', 'frozen': 0, 'c_reid': 0}
    expected |= {'train_flag': 1, 'view': None, 'transfer': None, 'model': 'rev_rec', 't': 0.1, 'batch_size': 128}
    assert {name: getattr(options, name) for name in expected} == expected
    assert parse_evaluate([]).best_model == 'rev_rec' and parse_evaluate([]).RN_dir is None


@pytest.mark.parametrize(
    ('flags', 't', 'epochs', 'rn_epochs'),
    [
        ('--dataset BIWI', 0.1, 400, 300),
        ('--dataset IAS', 0.1, 400, 300),
        ('--dataset KGBD', 0.5, 150, 200),
        ('--dataset KS20', 0.1, 400, 800),
        ('--dataset KinectReID', 0.1, 400, 300),
        ('--dataset KGBD --encoding AGE', 0.5, 400, 150),
        ('--dataset BIWI --encoding AGE', 0.1, 400, 300),
        ('--dataset MyOwn', 0.1, 400, 300),
        ('--dataset KGBD --t 0.3 --epochs 7 --rn_epochs 9', 0.3, 7, 9),
        ('--dataset BIWI --transfer KGBD', 0.5, 400, 300),
        ('--dataset BIWI --transfer KGBD --t 0.1', 0.1, 400, 300),
        ('--dataset BIWI --t 0.1 --faithful', 0.1, 400, 300),
    ],
)
def test_settings_of_the_data_set(flags, t, epochs, rn_epochs):
    options = parse_train(flags.split())
    assert (options.t, options.epochs, options.rn_epochs) == (t, epochs, rn_epochs)


@pytest.mark.parametrize(
    ('flags', 'attention'),
    [
        ('', 'LA'),
        ('--attention BA', 'BA'),
        ('--model prediction', 'BA'),
        ('--model sorting', 'BA'),
        ('--model sorting --attention LA', 'LA'),
        ('--model prediction --faithful', 'LA'),
        ('--model sorting --faithful', 'LA'),
        ('--model rev_rec_plus', 'BA'),
        ('--ablation GE-GD-Rev-MBAS', 'MBA'),
        ('--ablation GE-GD-Rev', 'none'),
    ],
)
def test_attention_left_alone(flags, attention):
    assert parse_train(flags.split()).attention == attention


@pytest.mark.parametrize(
    'flags', ['--transfer KGBD', '--transfer KGBD --train_flag 0', '--transfer KGBD --train_flag 2']
)
def test_transfer_trains_no_encoder(flags):
    assert parse_train(flags.split()).train_flag == (2 if '2' in flags else 0)


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        ('--dataset ../x', '--dataset'),
        ('--dataset', 'expected one argument'),
        ('--attention XA', "invalid choice: 'XA'"),
        ('--manner pc', '--manner'),
        ('--length 0', "found '0'"),
        ('--length 1', "found '1'"),
        ('--length six', "found 'six'"),
        ('--t warm', "found 'warm'"),
        ('--t 0', "found '0'"),
        ('--t -1', '--t'),
        ('--t nan', "found 'nan'"),
        ('--t inf', "found 'inf'"),
        ('--epochs -3', "found '-3'"),
        ('--epochs 0', "found '0'"),
        ('--rn_epochs 1.5', "found '1.5'"),
        ('--batch_size 1', "found '1'"),
        ('--batch_size 2', 'leaves the contrastive loss nothing'),
        ('--seed -1', "found '-1'"),
        ('--gpu cuda', "found 'cuda'"),
        ('--train_flag 3', '--train_flag'),
        ('--frozen 2', '--frozen'),
        ('--model rev', '--model'),
        ('--select best', '--select'),
        ('--encoding MAGE', '--encoding'),
        ('--lenght 6', 'unrecognized arguments: --lenght'),
        ('--len 6', 'unrecognized arguments: --len'),
        ('extra', 'unrecognized arguments: extra'),
        ('--view 1', '--view is for KS20'),
        ('--dataset KS20 --view 7', 'views 0 to 4'),
        ('--dataset KS20 --view side', '--view'),
        ('--transfer BIWI', 'another data set'),
        ('--transfer KGBD --model rev_rec_plus', '--transfer cannot be joined with rev_rec_plus'),
        ('--transfer KGBD --train_flag 1', '--transfer trains only'),
        ('--dataset KS20 --view 1 --transfer KGBD', '--transfer and --view'),
        ('--model rev_rec_plus --frozen 1', 'rev_rec_plus'),
        ('--model rev_rec_plus --c_reid 1', 'rev_rec_plus'),
        ('--model rev_rec_plus --attention LA', 'leave out --attention'),
        ('--encoding AGE --model sorting', 'rev_rec alone'),
        ('--encoding AGE --frozen 1', 'contrast head'),
        ('--encoding AGE --c_reid 1', 'contrast head'),
        ('--encoding AGE --length 8', 'one length'),
        ('--encoding AGE --t 0.3', 'contrastive loss'),
        ('--faithful --t 0.05', 'the original uses 0.1 on BIWI'),
        ('--faithful --dataset KGBD --t 0.1', 'the original uses 0.5 on KGBD'),
        ('--faithful --transfer KGBD --t 0.1', 'the original uses 0.5 on KGBD'),
        ('--dataset IAS --probe A', 'both of its test sets'),
        ('--ablation GE-BAS', "no row 'GE-BAS'"),
        ('--ablation GE --attention BA', 'leave out --attention'),
        ('--ablation GE --encoding CAGE', '--encoding'),
        ('--ablation GE --model sorting', 'stands alone'),
        ('--ablation GE --transfer KGBD', 'stands alone'),
        ('--ablation GE --c_reid 1', 'stands alone'),
        ('--ablation GE --faithful', 'stands alone'),
        ('--ablation GE --length 8', 'one length'),
        ('--train_flag 2 --epochs 5', '--train_flag 2 trains nothing'),
        ('--lenght 6', 'did you mean --length?'),
        ('--data-dir x', 'did you mean --data_dir?'),
    ],
)
def test_nonsense_is_refused_in_one_sentence(flags, words):
    with pytest.raises(UserError) as caught:
        parse_train(flags.split())
    assert words in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('name', ['RN_dir', 'config', 'ablation', 'save_features', 'models_dir', 'data_dir'])
def test_an_empty_word_is_not_taken_for_a_flag_that_was_left_out(name):
    parse = parse_train if name in ('config', 'ablation') else parse_evaluate
    with pytest.raises(UserError, match=f'--{name}: expected a name or a path, found nothing'):
        parse([f'--{name}', ''])


@pytest.mark.parametrize(
    'flags',
    [
        '--batch_size 3',
        '--encoding AGE',
        '--ablation GE',
        '--transfer KGBD',
        '--train_flag 0',
        '--recipe modern --without pairs',
        '--recipe modern --without pretext+sizes',
    ],
)
def test_two_sequences_are_a_batch_where_nothing_is_contrasted(flags):
    assert parse_train(['--batch_size', '2', *flags.split()]).batch_size in (2, 3)


@pytest.mark.parametrize(
    ('flags', 'words'),
    [
        ('--model sorting', 'unrecognized arguments: --model'),
        ('--best_model rev', '--best_model'),
        ('--epochs 3', 'unrecognized arguments: --epochs'),
        ('--best_model rev_rec_plus --c_reid 1', 'rev_rec_plus'),
        ('--view 2', '--view is for KS20'),
        ('--metric cosine', 'leave out --metric'),
        ('--level sequence', 'leave out --level'),
    ],
)
def test_evaluate_refuses(flags, words):
    with pytest.raises(UserError, match=words):
        parse_evaluate(flags.split())


def test_every_flag_of_the_original_is_there():
    train = '--attention BA --manner sc --dataset KS20 --length 8 --gpu 0 --frozen 0 --c_reid 0 --t 0.05 --train_flag 0'
    options = parse_train([*train.split(), '--view', '3', '--model', 'prediction'])
    assert (options.view, options.t, options.manner, options.model) == (3, 0.05, 'sc', 'prediction')
    evaluate = '--attention BA --manner sc --dataset KS20 --length 8 --gpu 0 --frozen 0 --c_reid 0 --t 0.05 --view 3'
    assert parse_evaluate([*evaluate.split(), '--best_model', 'sorting']).model == 'sorting'


@pytest.mark.parametrize(
    'flags',
    [
        '',
        '--dataset KGBD --manner sc --t 0.3 --seed 4 --epochs 2',
        '--model rev_rec_plus',
        '--model sorting --faithful',
        '--dataset KS20 --view 4',
        '--ablation GE-GD-MBAS-AGEs',
        '--encoding AGE --dataset KGBD',
        '--transfer KGBD --c_reid 1',
        '--gpu -1 --select val --probe Still',
    ],
)
def test_config_gives_the_same_options(tmp_path, flags):
    """What a run's config.json holds parses back to the same options, resolved as they were."""
    options = parse_train(flags.split())
    path = tmp_path / 'config.json'
    path.write_text(json.dumps({'options': asdict(options), 'finished': True}))
    again = parse_train(['--config', str(path)])
    assert {**asdict(again), 'config': None} == asdict(options)
    scored = parse_evaluate(['--config', str(path)])
    shared = set(asdict(options)) & set(asdict(scored)) - {'config', 'protocol'}
    assert {name: getattr(scored, name) for name in shared} == {name: getattr(options, name) for name in shared}
    assert scored.best_model == options.model


def test_typed_flags_win_over_config(tmp_path):
    path = tmp_path / 'config.json'
    saved = {'dataset': 'KGBD', 't': 0.3, 'seed': 4, 'overwrite': True, 'devices': '2', 'backend': 'jax', 'unknown': 1}
    path.write_text(json.dumps(saved))
    options = parse_train(['--config', str(path), '--seed', '9'])
    assert (options.dataset, options.t, options.seed, options.overwrite) == ('KGBD', 0.3, 9, False)


def test_typed_epochs_win_over_a_modern_config(tmp_path):
    path = tmp_path / 'config.json'
    path.write_text(json.dumps({'options': asdict(parse_train(['--dataset', 'DEMO', '--recipe', 'modern']))}))
    options = parse_train(['--config', str(path), '--epochs', '5'])
    assert (options.recipe, options.epochs, options.rn_epochs) == ('modern', 5, 5)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (None, 'cannot read'),
        ('{"length": ', 'should be JSON'),
        ('[1, 2]', 'expected the options of a run'),
        ('{"options": 3}', 'expected the options of a run'),
        ('{"length": "long"}', "--length: expected a number of frames from 2 to 1000, such as 6, found 'long'"),
        ('{"view": 3}', '--view is for KS20'),
        ('{"dataset": "DEMO", "faithful": "--models_dir=elsewhere"}', 'faithful should be true or false'),
        ('{"dataset": "DEMO", "faithful": 0}', 'faithful should be true or false'),
        ('{"dataset": "--help"}', "--dataset: expected a data set's name"),
        ('{"attention": "LA --overwrite"}', '--attention: invalid choice'),
    ],
)
def test_bad_config(tmp_path, content, words):
    path = tmp_path / 'config.json'
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError) as caught:
        parse_train(['--config', str(path)])
    assert words in str(caught.value)


def test_a_folders_run_counts_as_typed():
    saved = {
        'dataset': 'KGBD',
        'model': 'sorting',
        'attention': 'BA',
        't': 0.5,
        'seed': 3,
        'batch_size': 16,
        'epochs': 4,
    }
    options = parse_evaluate(['--RN_dir', 'x', '--seed', '9', '--faithful'], lambda name, models_dir: saved)
    assert (options.dataset, options.best_model, options.t, options.seed) == ('KGBD', 'sorting', 0.5, 9)
    assert options.faithful and options.batch_size == 16
    for contradiction in ('--dataset BIWI', '--length 8', '--best_model rev_rec', '--t 0.1', '--c_reid 1'):
        with pytest.raises(UserError, match='contradicts --RN_dir x'):
            parse_evaluate(['--RN_dir', 'x', *contradiction.split()], lambda name, models_dir: saved)


def test_a_bad_option_of_a_folder_names_the_help_that_has_it():
    with pytest.raises(UserError, match=r'--RN_dir x: --best_model: invalid choice.*evaluate\.py --help'):
        parse_evaluate(['--RN_dir', 'x'], lambda name, models_dir: {'model': 'cooking'})


@pytest.mark.parametrize(
    ('flags', 'recognition', 'encoder'),
    [
        ('', '', ''),
        ('--faithful', '', ''),
        ('--model prediction --faithful', '', ''),
        ('--model sorting --faithful', '_faithful', '_faithful'),
        ('--model rev_rec_plus --faithful', '_faithful', ''),
        ('--c_reid 1', '_c_reid', ''),
        ('--frozen 1', '', ''),
        ('--transfer KGBD', '_transfer-KGBD', ''),
        ('--transfer KGBD --select val', '_transfer-KGBD_select-val', ''),
        ('--select val', '_select-val', '_select-val'),
        ('--select last', '_select-last', ''),
        ('--probe Still', '_probe-Still', ''),
        ('--ablation GE-GD-BAS-AGEs', '_ablation-GE-GD-BAS-AGEs', '_ablation-GE-GD-BAS'),
        ('--ablation GE-GD-Rev-LAS', '_ablation-GE-GD-Rev-LAS', ''),
        ('--precision float32', '', ''),
        ('--precision bfloat16', '_precision-bfloat16', '_precision-bfloat16'),
        (
            '--precision bfloat16 --transfer KGBD',
            '_transfer-KGBD_precision-bfloat16',
            '_precision-bfloat16',
        ),
    ],
)
def test_suffixes_name_what_the_originals_names_do_not(flags, recognition, encoder):
    options = parse_train(flags.split())
    assert recognition_suffix(options) == recognition
    assert encoder_suffix(options, options.model) == encoder
    told = options_of_suffix(recognition)
    assert all(getattr(options, name) == value for name, value in told.items())
    assert bool(told) == bool(recognition)


def test_every_data_set_of_the_paper_has_its_facts():
    expected = {'BIWI': (28, 20), 'IAS': (11, 20), 'KGBD': (164, 20), 'KS20': (20, 25), 'KinectReID': (71, 20)}
    assert {name: (facts(name).identities, facts(name).joints) for name in expected} == expected


def test_ablation_rows_share_encoders():
    """12 rows, 9 encoders: rows with and without AGEs differ in the features; two are the usual AGE encoders."""
    assert len(ROWS) == 12 and TASKS == ('rev_rec', 'prediction', 'sorting')
    plain = [name for name, row in ROWS.items() if row.encoder is None]
    assert plain == ['GE-GD-Rev-BAS', 'GE-GD-Rev-BAS-AGEs', 'GE-GD-Rev-LAS', 'GE-GD-Rev-LAS-AGEs']
    assert len({row.encoder or row.attention for row in ROWS.values()}) == 9
    assert [name for name, row in ROWS.items() if row.labelled] == ['GE']
    assert [name for name, row in ROWS.items() if row.attention == 'none'] == ['GE', 'GE-GD', 'GE-GD-Rev']


@pytest.mark.parametrize(
    'flags',
    [
        '--dataset DEMO',
        '--dataset KS20 --view 2 --recipe modern --without sizes --epochs 7',
        '--dataset KS20 --recipe modern --supervised --epochs 7',
        '--dataset IAS --seed 3 --model rev_rec_plus',
        '--dataset KGBD --ablation GE-GD-Rev-BAS',
        '--dataset BIWI --manner sc --precision bfloat16 --select val --batch_size 64 --model sorting',
        '--dataset BIWI --encoding AGE --faithful --models_dir elsewhere',
    ],
)
def test_a_run_is_made_again_by_the_flags_that_it_was_made_with(flags):
    """Those flags alone: no default and nothing that another flag brings."""
    saved = json.loads(json.dumps(asdict(parse_train([*flags.split(), '--gpu', '-1', '--overwrite']))))
    assert flags_again(saved, 'config.json') == flags.split()
