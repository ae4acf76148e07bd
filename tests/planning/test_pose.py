"""Poses against Meta's (scipy's) and against what turning means."""

import numpy as np
import pytest
import torch

from jepad.errors import SettingError
from jepad.planning.bounds import DROID, TOY, Bounds, States
from jepad.planning.pose import angles, difference, mover, new_pose, rotation
from tests.planning.golden import CASE, rolled

KINDS = {"numpy": (np, np.asarray), "torch": (torch, torch.from_numpy)}


@pytest.fixture(params=list(KINDS))
def kind(request):
    return KINDS[request.param]


def test_actions_move_poses_as_metas(kind):
    xp, array = kind
    found = new_pose(array(CASE["in/pose_start"]), array(CASE["in/pose_action"]), xp)
    assert np.abs(np.asarray(found) - CASE["out/pose/compute_new_pose"]).max() <= 1e-6


def test_two_poses_differ_as_metas(kind):
    xp, array = kind
    found = difference(array(CASE["in/pose_start"]), array(CASE["in/pose_end"]), xp)
    assert np.abs(np.asarray(found) - CASE["out/pose/poses_to_diff"]).max() <= 1e-6


def test_a_rollout_goes_through_metas_poses(kind):
    xp, array = kind
    frame, poses = rolled(xp, array, array(CASE["in/candidates"]))
    assert np.abs(np.asarray(frame) - CASE["out/candidates/final_frame"]).max() <= 1e-6
    assert np.abs(np.asarray(poses) - CASE["out/candidates/poses"]).max() <= 1e-6


def test_the_difference_leads_back(kind):
    xp, array = kind
    start, end = array(CASE["in/pose_start"]), array(CASE["in/pose_end"])
    there = np.asarray(new_pose(start, difference(start, end, xp), xp))
    turned, wanted = rotation(there[:, 3:6], np), rotation(np.asarray(end)[:, 3:6], np)
    assert np.abs(turned - wanted).max() < 1e-5
    assert np.abs(there[:, :3] - np.asarray(end)[:, :3]).max() < 1e-6


def test_straight_up_is_still_the_same_turn():
    theta = np.array([[0.3, np.pi / 2, 0.2], [0.3, -np.pi / 2, 0.2]])
    found = angles(rotation(theta, np), np)
    assert np.isfinite(found).all()
    assert (found[:, 2] == 0).all()
    assert np.abs(rotation(found, np) - rotation(theta, np)).max() < 1e-6


def test_bounds_say_how_a_state_moves():
    state, action = np.array([[0.9, 0.0]]), np.array([[0.25, -0.25]])
    assert mover(TOY, np, np.asarray)(state, action).tolist() == [[1.0, -0.25]]
    free = Bounds("free", TOY.axes, states=States("shift"))
    assert mover(free, np, np.asarray)(state, action).tolist() == [[1.15, -0.25]]
    pose, still = np.zeros((1, 7)), np.zeros((1, 7))
    assert mover(DROID, np, np.asarray)(pose, still).tolist() == pose.tolist()


def test_a_pose_has_seven_axes():
    with pytest.raises(SettingError, match="7 axes"):
        mover(Bounds("odd", TOY.axes), np, np.asarray)
