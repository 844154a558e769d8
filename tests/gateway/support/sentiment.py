# SPDX-License-Identifier: Apache-2.0
"""Sentences about everyday things, each 'positive' or 'negative', made from a small grammar: the same
list for the same seed. A quarter turns on a negation or a contrast, so that single words mislead.
The worked examples share no phrase with them."""
import random

THINGS = ["The hotel room", "This phone", "The soup", "Our train ride", "The new keyboard",
          "That film", "The city museum", "My winter coat", "The repair service", "This novel",
          "The football match", "Her piano concert", "The garden tour", "This coffee machine",
          "The online course", "The birthday party", "The dentist", "His speech", "The tent",
          "The bakery on the corner"]
GOOD = ["was a pleasure from start to finish", "is the best I have had in years",
        "made everybody smile", "works perfectly and feels solid", "was worth every penny",
        "exceeded all our hopes", "is wonderful, and I would choose it again",
        "left us happy and full of energy", "was warm, friendly and well organised",
        "is beautiful and easy to enjoy", "saved my whole week", "deserves five stars",
        "is simply brilliant", "earned its applause", "is a joy to come back to"]
BAD = ["was a waste of money", "is the worst I have ever tried", "left everybody annoyed",
       "broke after two days", "was cold, slow and rude to us", "disappointed the whole family",
       "is ugly and hard to bear", "made me regret that I came", "was boring from start to finish",
       "smelled awful and felt cheap", "ruined my whole week", "does not deserve one star",
       "is simply dreadful", "earned its bad name", "is a mess that nobody should pay for"]
GOOD_TURNED = ["was not bad at all; we loved it", "never let me down, not even once",
               "looked dull at first, but it turned out to be great",
               "is far from boring: I could not stop smiling",
               "had no faults that I could find"]
BAD_TURNED = ["was not good, whatever the adverts say", "never worked the way it should",
              "looked great at first, but it turned out to be terrible",
              "is far from pleasant: I wanted to leave at once",
              "had no charm that I could find"]
OPENINGS = ["", "", "Honestly, ", "To be fair, ", "I must say: ", "Last week: "]

EXAMPLES = [("We laughed until midnight and want to do it all over again.", "positive"),
            ("Nobody answered the phone, and the parcel came damaged.", "negative"),
            ("The staff greeted us kindly and the view took my breath away.", "positive"),
            ("I threw it into the bin after an hour.", "negative"),
            ("What a delicious dinner, and so cheap!", "positive"),
            ("The queue was endless and the toilets were filthy.", "negative"),
            ("My children ask every day when they may go there next.", "positive"),
            ("It crashed twice and lost all my work.", "negative"),
            ("He explained everything with patience and humour.", "positive"),
            ("They charged us double and would not say sorry.", "negative"),
            ("I have recommended it to all my friends.", "positive"),
            ("The seats were so hard that my back still hurts.", "negative")]


def sentences(count, seed=1):
    """[(sentence, label)], half of each label, none twice."""
    rng, seen, rows = random.Random(seed), set(), []
    while len(rows) < count:
        label = ("positive", "negative")[len(rows) % 2]
        plain, turned = (GOOD, GOOD_TURNED) if label == "positive" else (BAD, BAD_TURNED)
        opening, thing = rng.choice(OPENINGS), rng.choice(THINGS)
        said = rng.choice(turned if rng.random() < 0.25 else plain)
        if opening.endswith(", "):
            thing = thing[0].lower() + thing[1:]
        sentence = f"{opening}{thing} {said}."
        if sentence not in seen:
            seen.add(sentence)
            rows.append((sentence, label))
    rng.shuffle(rows)
    return rows
