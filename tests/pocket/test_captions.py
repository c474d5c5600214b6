"""Captions say what their slots say, and hold some combinations back."""

import random

from studio.pocket import captions
from studio.pocket.captions import ABSENT, SLOTS, canonical, describe, held_out, nothing
from studio.pocket.paraphrases_scene import gerund
from studio.pocket.train_text import random_person, random_scene
from studio.pocket.vocabulary import Scene

HEART = Scene("small", "heart", "pink", "moves right", "sea", "night", "pans left")


def test_the_canonical_caption_names_every_part():
    text = canonical(HEART)
    assert text == "a small pink heart moves right over the sea at night, camera pans left"


def test_slots_hold_only_values_of_the_world():
    rng = random.Random(1)
    for index in range(300):
        scene = random_scene(rng)
        _, slots = describe(scene, rng, held_out_wording=index % 2 == 0)
        assert set(slots) == set(SLOTS)
        assert all(value in SLOTS[name] for name, value in slots.items())
        for part in captions.SCENE_PARTS:
            assert slots[part] in (ABSENT, getattr(scene, part))


def test_two_people_fill_the_slots_of_both():
    rng = random.Random(2)
    people = [random_person(rng), random_person(rng)]
    _, slots = describe(people, rng, complete=1.0)
    assert slots["kind"] == "two people"
    assert {slots["first.skin"], people[0].skin} <= {ABSENT, people[0].skin}
    assert {slots["second.eyes"], people[1].eyes} <= {ABSENT, people[1].eyes}


def test_left_and_right_of_motion_and_camera_are_both_named():
    rng = random.Random(3)
    texts = [describe(HEART, rng, complete=1.0)[0].lower() for _ in range(100)]
    complete = [t for t in texts if "left" in t and "right" in t]
    assert len(complete) > 80
    assert len(set(texts)) > 90


def test_about_one_combination_in_twelve_is_held_out():
    rng = random.Random(4)
    scenes = [random_scene(rng, unseen) for unseen in (False, True) for _ in range(50)]
    assert [held_out(s) for s in scenes] == [False] * 50 + [True] * 50


def test_nothing_says_nothing():
    assert set(nothing(random.Random(0))[1].values()) == {ABSENT}


def test_gerunds():
    forms = {"moves left": "moving left", "spins": "spinning", "goes up": "going up"}
    forms |= {"does not move": "not moving", "is motionless": "motionless", "": ""}
    assert {phrase: gerund(phrase) for phrase in forms} == forms
