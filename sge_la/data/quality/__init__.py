"""What looks at skeletons before they are used: plausible bodies, lost joints, leaks, what training needs."""
