"""Check answers to the course's exercises; a wrong answer gets a hint at the misconception behind it."""

from __future__ import annotations

from ktnet_lite.course.answers import CHECKS

OPTIONS: dict[str, dict[str, str | None]] = {
    "0.1": {
        "smaller": None,
        "same": "Does the gap not come from the voice? At redundancy 0, words and face hold nothing of its message.",
        "larger": "More to learn is not more to transfer. What do words and face hold of the voice's message now?",
    },
    "0.2": {
        "same": None,
        "worse": "Zeros are bad if they are far from every training clip. What is the mean of these features?",
        "better": "Zeros are not less information than a mean. What is the mean of these features?",
    },
    "0.3": {
        "inside A' and as its source": None,
        "inside A' alone": "A target takes information from its sources. Which streams are the sources of A'?",
        "not at all": "A' is the only target, not the only stream. From what is A' computed?",
    },
    "1.3": {
        "no": None,
        "yes": "An error is one number, for one way to form batches. Would you have had another to compare?",
    },
    "1.4": {
        "zeros are worse": None,
        "the same": "Only for features with a mean near 0. Which voice has a pitch of 0 hertz?",
        "means are worse": "A mean stays within what the model has seen. Which voice has a pitch of 0 hertz?",
    },
    "1.5": {
        "rises, falls": None,
        "falls, falls": "Half of the clips had a voice to learn from. Can the weight of the voice stay as large?",
        "rises, rises": "The model met silence in training. Why should it be worse prepared for it?",
        "falls, rises": "A model that met silence leans on the voice less, not more.",
    },
    "2.2": {
        "pre-norm": None,
        "post-norm": "In a post-norm stack each layer ends in a norm. What is the deviation behind a norm?",
    },
    "2.3": {
        "distances, longer clips": None,
        "order": "Each step still gets a vector of its own. What did products of two such vectors tell before?",
        "nothing": "What does a table of 64 rows say to a clip of 65 steps?",
    },
    "2.4": {
        "zeros, standardised": None,
        "raw zeros": "Standardised, a raw zero is no longer zero. What does Conv1d itself put beyond the ends?",
        "nothing": "Conv1d pads with zeros at the ends of a clip. What if padding looked the same to it?",
    },
    "3.1": {
        "only R2 falls": None,
        "only the error rises": "R2 compares with the mean. What is left to explain if nothing is shared?",
        "both stay": "R2 compares with the mean. Can words beat the mean of a voice that they know nothing of?",
        "both change": "The target varies as before, and little of it was explained.",
    },
    "3.2": {
        "yes": None,
        "no": "Shrinking gains nothing under a cosine. But may all steps point in the same direction?",
    },
    "3.3": {
        "as bad": None,
        "half as bad": "One gradient still reaches the target, and pulls until its loss is 0. What stops it?",
        "harmless": "The other source still pulls at the target. A constant target makes its loss 0.",
    },
    "3.4": {
        "the encoder learns too": None,
        "the face says it plainly": "Half of the faces are mirrored. What does the map read: faces, or features?",
        "three blocks overfit": "Then they would do worse than the linear map on valid clips. Do they?",
    },
    "3.5": {
        "in part": None,
        "all of it": "A probe that rescales the features still reads a good deal. Shrunk is not the same as forgotten.",
        "nothing": "If nothing was forgotten, the probe would read as much as from the random encoder.",
    },
    "4.1": {
        "same": None,
        "double": "Heads cut the width. They do not add to it.",
        "half": "Each head has half of the width, and there are two of them.",
    },
    "4.3": {
        "worse": None,
        "the same": "Without the residual the words only choose proportions of the face. Where is what they say?",
        "better": "Fewer terms, but which one is left? The words only choose proportions of the face.",
    },
    "4.4": {
        "two separate streams": None,
        "the usual model": "The gate is the hyperbolic tangent of 0. What passes a gate of 0?",
        "no model at all": "The target itself passes beside the gate. What does not pass?",
    },
    "5.1": {
        "it yields after each epoch": None,
        "Adam adapts the rate": "Adam takes its rate from its options, at each step. Who can change them, and when?",
        "the config has the rate": "The config gives the first rate. Who can change that of the optimizer, and when?",
    },
    "5.3": {
        "Eq. (1)": None,
        "Eq. (5)": "That is a mean over clips, and both halves have the same number of clips.",
        "neither": "A mean of two means is the mean of all only if both count the same. What is each term a mean over?",
    },
    "5.4": {
        "below 0": None,
        "0": "0 is what the mean reaches. Who tells this network what the mean is?",
        "above 0": "With both weights 0, no loss asks A' to resemble a voice.",
    },
    "6.1": {
        "a rising line, a flat one": None,
        "two rising lines": "`ours` never reads the voice. What does it lose with it?",
        "a curve, a flat line": "The expected error is a mixture of two errors. How does it depend on the share?",
    },
    "6.4": {
        "what the teacher learned is not what helps": None,
        "the teacher learned nothing": "`full` hears with that encoder. How could its error be the lowest by far?",
        "Eq. (1) does not help": "Both runs have Eq. (1). Which control has the same network without it?",
    },
    "6.5": {
        "near language_vision": None,
        "near full": "It hears nothing at test. What can it know of what only the voice shows?",
        "near full, audio = mean": "That model never met a clip without a voice in training. What did this one meet?",
    },
    "7.4": {
        "quiet and loud clips": None,
        "quiet clips": "Where every clip is quiet, an open gate is always right. What would teach it to shut?",
        "loud clips": "Where every clip is loud, one position of the gate is right for all. What would it react to?",
    },
    "8.3": {
        "too large": None,
        "right on average": "That holds for all effects. Only those that passed a threshold are reported.",
        "too small": "To be reported, an effect has to exceed its noise. Luck that points upwards helps it.",
    },
    "8.4": {
        "does not matter": None,
        "cannot tell": "An effect below a high floor gets exactly this verdict. Which one needs a low floor?",
        "matters": "An effect above the floor of one seed gets it. How large is the effect of hearing the voice?",
    },
    "9.1": {
        "c": None,
        "a": "Labels in another order are still labels. What would the doctor compare them with?",
        "b": "One split has no wrong scale. Only a comparison of splits would show it.",
    },
    "9.2": {
        "rises": None,
        "stays": "There is something to learn, because the clips were made that way. It was only not learned yet.",
        "falls": "A longer training can overfit. But first it has to fit, and R2 was about 0.",
    },
    "10.1": {
        "complete better, words worse": None,
        "both better": "Nine clips in ten keep everything. How often does the model meet words alone?",
        "both worse": "Most clips are complete now. Why should the model do worse on such clips?",
    },
    "10.3": {
        "never": None,
        "when it is noisy": "A perfect model may ignore what does not help. Chapter 7 shows that more never hurts it.",
        "often": "That would mean that a perfect model reads something and is worse off for it. It can ignore it.",
    },
    "11.1": {
        "its peak is low": None,
        "its peak is late": "A late peak is a low voice. What does noise, which does not repeat itself, do to the fit?",
        "it is quiet": "It is divided by its value at shift 0, so it does not know how loud a frame is.",
    },
    "11.2": {
        "wide open": None,
        "shut": "It measures which share of the place is dark. How much of a black image is dark?",
        "absent": "That is what it should say. It says so only if the file has no video.",
    },
    "11.3": {
        "by their letters": None,
        "equally long": "A long word takes longer to say. What does Words know about a word before it hears it?",
        "where they were": "The line has one time for all four words. What could tell Words where a word begins?",
    },
    "12.1": {
        "CRPS": None,
        "coverage": "Both have the right width on average. How many features does that put inside?",
        "both": "One of the two hardly moves. How many features does the right width on average put inside?",
        "neither": "A sharp distribution in the right place is worth more. Which of the two looks at the place?",
    },
    "12.2": {
        "smaller": None,
        "larger": "Each step varies as before. What do many independent deviations add up to over a clip?",
        "the same": "Each step varies as before. But the score hears the whole clip: do deviations add up, or cancel?",
    },
    "12.3": {
        "fewer": None,
        "as many": "The width comes from clips with less noise. Who tells the interval that the world has changed?",
        "more": "More noise makes larger errors. And the width stays.",
    },
    "13.1": {
        "about twice": None,
        "about four times": "That holds for linear maps, d times d. What does attention between T and S steps cost?",
        "about eight times": "No part of the model grows with the third power of the width.",
    },
}


def hint(number: str, answer: object, **given: object) -> str | None:
    """Return what to think about again, or None if the answer is right.

    Parameters
    ----------
    number : str
        Chapter and exercise, such as "4.2".
    answer : object
        One of the exercise's options, a number, an array or a function, as the exercise says.
    **given : object
        What the answer refers to, by name.
    """
    if number in OPTIONS:
        options = OPTIONS[number]
        if isinstance(answer, str) and answer in options:
            return options[answer]
        return f"Choose one of: {'; '.join(sorted(options))}."
    if answer is None:
        return "Put your answer in place of None."
    try:
        return CHECKS[number](answer, **given)
    except NotImplementedError:
        return "Write the function first."
    except Exception as error:  # whatever a reader's code may raise
        return f"Your answer raises {type(error).__name__}: {error}"


def check(number: str, answer: object, **given: object) -> None:
    """Print whether an answer is right, or a hint; the parameters are those of `hint`."""
    print(f"Exercise {number}: {hint(number, answer, **given) or 'right.'}")
