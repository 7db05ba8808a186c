"""The words and sentences of the demo model: greetings from templates, and random words."""

WORDS = sorted(set("""
the a to you and i it is that of in we for on this my have be are with your not was do what just like at so they there can all
up get if no but one here out go know about now time good how see right come some want look back really think then love would
make will people day as thing more from need today tonight tomorrow morning evening night week year home game play music song
show live stream channel video chat comment question answer first last next new old big little great nice happy sad fun best
better friend friends family guys everyone everybody anybody somebody world house room food water coffee tea work job school
car phone camera light sound money book name place city street road train bus shop door window table hand head eye face voice
word story idea plan part way life end start stop wait help talk speak listen hear watch read write call ask tell say said
give take keep let find feel try use turn move open close run walk sit stand stay leave meet join follow share click subscribe
support enjoy win lose buy sell send bring learn change check thank thanks please sorry welcome hello hi hey goodbye bye yes
yeah okay maybe never always again still already soon later early late very much many few two three four five six seven eight
nine ten hundred thousand where when why who which me him her us them he she his our their were been being am has had did does
doing done going got could should must might may because before after over under down off away into through between without
around long short high low hot cold warm easy hard fast slow same other another every each own real sure true ready free full
cool crazy amazing beautiful wonderful fine well pleased glad appreciate weather rain sun snow summer winter milk bread fish
dog cat baby man woman boy girl child kids mother father brother sister minute hour second month monday friday saturday sunday
left side top bottom red blue green black white
""".split()))

GREETINGS = ["hello", "hi", "hey", "good morning", "good evening", "good afternoon", "welcome", "welcome back",
             "hello there", "hi there", "hey there"]
WHO = ["everyone", "everybody", "guys", "friends", "my friends", "all of you", "you all", "people", ""]
WHERE = ["stream", "show", "channel", "live stream", "chat", "game", "video", "music"]
DOING = ["joining", "watching", "coming to", "being on", "following", "sharing"]
WHEN = ["today", "tonight", "this morning", "this evening", "tomorrow", "right now", ""]
TEMPLATES = [
    "{greeting} {who}", "{greeting} {who} welcome to the {where}", "{greeting} {who} how are you {when}",
    "thank you so much for {doing} {when}", "thanks for {doing} the {where}", "nice to meet you {who}",
    "it is great to see you {who}", "so good to see you again {who}", "i hope you are having a great {word}",
    "i am so happy to have you here {when}", "please enjoy the {where}", "welcome to my {where} {who}",
    "what is your name", "where are you from", "let me know in the {word} what you think", "we are live right now",
    "see you {when} {who}", "goodbye {who} see you next time", "good night {who}", "how is everyone doing {when}",
    "pleased to meet you", "glad you are here {when}", "thank you for joining us {when}",
    "i really appreciate your support",
]


def sentence(random, greeting_share):
    """A sentence, drawn by `random` (a `random.Random`)."""
    if random.random() < greeting_share:
        text = random.choice(TEMPLATES).format(
            greeting=random.choice(GREETINGS), who=random.choice(WHO), where=random.choice(WHERE),
            when=random.choice(WHEN), doing=random.choice(DOING), word=random.choice(WORDS),
        )
    else:
        text = " ".join(random.choice(WORDS) for _ in range(random.randint(2, 7)))
    return " ".join(text.split())
