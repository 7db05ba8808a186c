"""What each made session contains. Times are seconds from the first frame."""

import hashlib
import uuid
from dataclasses import dataclass, field

FPS = 30
SEGMENT_S = 30
SMILE_DELAY_S = 0.8  # from the stimulus to the onset of the smile
SMILE_RISE_S = 0.3
SMILE_HOLD_S = 3.0
SMILE_FALL_S = 0.5
SPEECH_DELAY_S = 0.1  # from the stimulus to the first sound

THANKS = "thank you for the wonderful stream you are amazing"
THANKS_REWORDED = "thank you so much for the wonderful stream you are amazing"
WELCOME = "hello everyone welcome to the stream"
OFF_TOPIC = "the weather is cold and my dog is in the water"
GOODBYE = "goodbye everyone see you next time"


@dataclass(frozen=True)
class Stimulus:
    at_s: float
    spoken_text: str
    matches: bool
    smile: float  # 0 relaxed, 1 the picture's own smile


@dataclass(frozen=True)
class Plan:
    name: str
    width: int
    height: int
    shown_width: int  # pixels of the picture across the frame
    crf: int
    duration_s: int
    experiment_id: str
    arm_id: str
    greeting_text: str
    stimuli: tuple
    turns: tuple = ()  # (start_s, end_s, turn)
    absences: tuple = ()  # (start_s, end_s)
    asides: dict = field(default_factory=dict)  # start_s -> spoken text that belongs to no stimulus

    def action_id(self, index):
        """A fixed UUID v4 per stimulus."""
        digest = hashlib.sha256(f"{self.name}:{index}".encode()).digest()
        return str(uuid.UUID(bytes=digest[:16], version=4))

    def smile(self, t):
        for s in self.stimuli:
            onset = s.at_s + SMILE_DELAY_S
            rise = smoothstep((t - onset) / SMILE_RISE_S)
            fall = smoothstep((t - onset - SMILE_RISE_S - SMILE_HOLD_S) / SMILE_FALL_S)
            if rise - fall > 0:
                return s.smile * (rise - fall)
        return 0.0

    def turn(self, t):
        for start, end, turn in self.turns:
            if start <= t < end:
                third = (end - start) / 3
                return turn * (smoothstep((t - start) / third) - smoothstep((t - end + third) / third))
        return 0.0

    def present(self, t):
        return not any(start <= t < end for start, end in self.absences)

    def utterances(self):
        """(start_s, text) in order."""
        said = [(s.at_s + SPEECH_DELAY_S, s.spoken_text) for s in self.stimuli]
        return sorted(said + list(self.asides.items()))


def smoothstep(x):
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


def proof(arm_id, smile, text):
    """One arm of the posterior-movement proof: ten equal encounters."""
    return Plan(
        name=arm_id,
        width=320,
        height=240,
        shown_width=180,
        crf=24,
        duration_s=75,
        experiment_id="posterior_proof_v1",
        arm_id=arm_id,
        greeting_text=text,
        # No sentence crosses the end of a segment.
        stimuli=tuple(Stimulus(round(8.0 + 6.05 * k, 2), text, True, smile) for k in range(10)),
    )


PLANS = [
    Plan(
        name="demo",
        width=640,
        height=480,
        shown_width=240,
        crf=28,
        duration_s=96,
        experiment_id="greeting_line_v1",
        arm_id="warm_welcome",
        greeting_text=THANKS,
        stimuli=(
            Stimulus(10.0, THANKS, True, 1.335),
            Stimulus(56.5, OFF_TOPIC, False, 0.65),
            Stimulus(75.0, THANKS_REWORDED, True, 0.31),
        ),
        turns=((31.0, 33.0, 1.0), (33.0, 35.0, -1.0)),
        absences=((41.0, 43.0),),
        asides={91.5: GOODBYE},
    ),
    proof("strong", 1.35, THANKS),
    proof("weak", 0.122, WELCOME),
    Plan(
        name="short",
        width=320,
        height=240,
        shown_width=180,
        crf=24,
        duration_s=35,
        experiment_id="greeting_line_v1",
        arm_id="warm_welcome",
        greeting_text=THANKS,
        stimuli=(Stimulus(12.0, THANKS, True, 1.0),),
    ),
]
