"""AUC, accuracy, and their intervals."""

import numpy as np


def auc(scores, labels):
    """Area under the ROC curve from `[count, classes]` scores: of class 1 for two classes, else the mean of one class
    against the rest. Ties count half (Mann and Whitney 1947)."""
    if scores.shape[1] == 2:
        return binary_auc(scores[:, 1] - scores[:, 0], labels == 1)
    odds = scores - np.log(np.exp(scores - scores.max(1, keepdims=True)).sum(1, keepdims=True)) - scores.max(1, keepdims=True)
    return float(np.mean([binary_auc(odds[:, k], labels == k) for k in range(scores.shape[1])]))


def binary_auc(score, positive):
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n, p = len(score), int(positive.sum())
    if p in (0, n):
        return float("nan")
    return float((rank[positive].sum() - p * (p + 1) / 2) / (p * (n - p)))


def balanced_accuracy(scores, labels):
    right = scores.argmax(1) == labels
    return float(np.mean([right[labels == k].mean() for k in np.unique(labels)]))


def accuracy(scores, labels):
    return float((scores.argmax(1) == labels).mean())


def interval(figure, scores, labels, groups, rounds=1000, seed=7):
    """The central 95 % of a figure over resampled groups: images of one patient come and go together."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    found = []
    for _ in range(rounds):
        rows = np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))])
        if len(np.unique(labels[rows])) == scores.shape[1]:
            found.append(figure(scores[rows], labels[rows]))
    return tuple(float(x) for x in np.percentile(found, [2.5, 97.5]))
