"""The words in which a scene or a person may be named, by attribute and value.

Every value has its training phrases (repeated ones are commoner) and a few reserved ones, which
only the evaluation uses: known words, put together in ways that training never shows.
"""

from __future__ import annotations

Phrases = dict[str, tuple[str, ...]]


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split(" | "))


def _table(lines: dict[str, str]) -> Phrases:
    """`a | b` -> `("a", "b")` for every value."""
    return {value: _list(text) for value, text in lines.items()}


SIZE: Phrases = _table(
    {
        "small": "small | little | tiny | mini | petite | compact",
        "large": "large | big | huge | giant | massive | great",
    }
)
COLOUR: Phrases = _table(
    {
        "red": "red | red | crimson | scarlet | ruby | bright red | cherry-red",
        "green": "green | green | emerald | lime green | bright green | grass-green",
        "blue": "blue | blue | azure | cobalt | royal blue | deep blue | navy",
        "yellow": "yellow | yellow | golden | gold | lemon-yellow | bright yellow",
        "purple": "purple | purple | violet | lilac | deep purple | lavender",
        "orange": "orange | orange | tangerine | amber | bright orange | pumpkin-coloured",
        "white": "white | white | snow-white | ivory | pure white | pale white",
        "pink": "pink | pink | rose | magenta | hot pink | rosy | bubblegum-pink",
    }
)
SHAPE: Phrases = _table(
    {
        "ball": "ball | ball | sphere | orb | circle | disc | round ball | balloon",
        "square": "square | square | box | cube | block | square tile",
        "triangle": "triangle | triangle | pyramid | three-cornered shape | wedge",
        "star": "star | star | five-pointed star | starfish | star shape | asterisk",
        "heart": "heart | heart | heart shape | love heart | valentine heart",
    }
)
MOTION: Phrases = _table(
    {
        "moves left": "moves left | moves left | moves to the left | drifts to the left | heads"
        " leftward | slides left | travels from right to left | goes left | glides"
        " left | flies left | floats to the left | moves leftwards | travels left |"
        " rolls to the left | crosses from right to left | drifts left",
        "moves right": "moves right | moves right | moves to the right | drifts to the right |"
        " heads rightward | slides right | travels from left to right | goes right | glides"
        " right | flies right | floats to the right | moves rightwards | travels right"
        " | rolls to the right | crosses from left to right | drifts right",
        "rises": "rises | rises | goes up | ascends | climbs | floats upward | moves up |"
        " lifts off | moves upward | drifts up | soars | rises into the sky | climbs"
        " higher | flies up",
        "falls": "falls | falls | drops | descends | sinks | goes down | moves down | falls"
        " down | floats downward | moves downward | comes down | drops to the ground |"
        " plunges",
        "bounces": "bounces | bounces | hops | jumps up and down | bounces up and down | leaps |"
        " hops up and down | keeps bouncing | bobs up and down | jumps",
        "spins": "spins | spins | rotates | turns | twirls | spins around | revolves | turns"
        " around | whirls | rotates in place | spins on the spot | keeps turning",
        "grows": "grows | grows | gets bigger | expands | becomes larger | grows larger |"
        " swells | inflates | gets larger | enlarges | grows in size | becomes big",
        "shrinks": "shrinks | shrinks | gets smaller | contracts | becomes smaller | grows"
        " smaller | dwindles | deflates | gets tiny | shrinks in size | becomes small",
        "stays still": "stays still | stays still | does not move | rests | is motionless | stands"
        " still | hovers motionless | remains still | stays in place | is not moving |"
        " holds still | keeps still | is stationary | hangs still",
    }
)
PLACE: Phrases = _table(
    {
        "meadow": "meadow | meadow | grassland | field | green hills | grassy field | pasture |"
        " green meadow | grass | lawn",
        "sea": "sea | sea | ocean | water | waves | open sea | blue ocean | sea waves",
        "desert": "desert | desert | sand | dunes | sand dunes | sandy desert | dry desert",
        "city": "city | city | town | skyline | buildings | street | city skyline |"
        " skyscrapers | rooftops | tall buildings | downtown streets",
    }
)
LIGHT: Phrases = _table(
    {
        "day": "at day | at day | by day | in daylight | at noon | in bright daylight | on a"
        " sunny day | in the sunshine | during the day | under a blue sky | at midday"
        " | in broad daylight | in the daytime",
        "sunset": "at sunset | at sunset | at dusk | at sundown | in the golden hour | in the"
        " evening glow | in the evening | as the sun sets | in the evening light |"
        " under an orange sky | at twilight | during sunset",
        "night": "at night | at night | at midnight | under the moon | in the dark | by"
        " moonlight | in the moonlight | under a dark sky | during the night | after"
        " dark | under the night sky | at nighttime",
    }
)
# As a clause of its own, and as a tag after a comma.
CAMERA: Phrases = _table(
    {
        "static": "the camera is static | the camera stays still | the camera does not move |"
        " the camera is fixed | the camera is locked off | the camera holds still |"
        " the camera remains stationary | the view stays fixed",
        "pans left": "the camera pans left | the camera pans left | the camera pans to the left |"
        " the camera moves left | the camera moves to the left | the camera turns left"
        " | the camera swings to the left | the camera slides left | the view pans"
        " left | the camera tracks left | we pan left",
        "pans right": "the camera pans right | the camera pans right | the camera pans to the right"
        " | the camera moves right | the camera moves to the right | the camera turns"
        " right | the camera swings to the right | the camera slides right | the view"
        " pans right | the camera tracks right | we pan right",
        "zooms in": "the camera zooms in | the camera zooms in | the camera pushes in | the"
        " camera gets closer | the camera moves in closer | the camera moves closer |"
        " the view zooms in | the camera dollies in | the camera moves forward | we"
        " zoom in",
        "zooms out": "the camera zooms out | the camera zooms out | the camera pulls back | the"
        " camera moves away | the camera backs off | the camera pulls out | the view"
        " zooms out | the camera dollies out | the camera moves back | we zoom out",
    }
)
CAMERA_TAG: Phrases = _table(
    {
        "static": "static camera | static camera | static | fixed shot | locked-off camera |"
        " fixed camera | still camera | no camera movement | static shot | steady"
        " camera",
        "pans left": "pans left camera | camera pans left | camera pans left | camera panning left"
        " | pan left | pan to the left | camera moving to the left | left pan |"
        " panning left | pans left | camera left | leftward pan | slow pan left",
        "pans right": "pans right camera | camera pans right | camera pans right | camera panning"
        " right | pan right | pan to the right | camera moving to the right | right"
        " pan | panning right | pans right | camera right | rightward pan | slow pan"
        " right",
        "zooms in": "zooms in camera | camera zooms in | zoom in | zooming in | camera zooming in"
        " | push in | dolly in | camera gets closer | slow zoom in | zooms in",
        "zooms out": "zooms out camera | camera zooms out | zoom out | zooming out | camera"
        " zooming out | pull back | dolly out | camera pulls back | slow zoom out |"
        " zooms out",
    }
)
SKIN: Phrases = _table(
    {
        "pale": "pale skin | light skin | fair skin | a pale face | a fair complexion",
        "tan": "tan skin | tanned skin | sun-tanned skin | a tanned face | a tan complexion",
        "brown": "brown skin | a brown face | a brown complexion | medium brown skin",
        "dark": "dark skin | very dark skin | a dark face | a dark complexion | black skin",
    }
)
HAIR_STYLE: Phrases = _table(
    {
        "long": "long {} hair | long {} hair | {} hair, long | long, {} hair | {} long hair",
        "short": "short {} hair | short {} hair | {} hair, short | cropped {} hair | {} short hair",
        "fringe": "{} hair with a fringe | {} hair and a fringe | a {} fringe | {} bangs | {}"
        " hair with bangs | fringed {} hair",
    }
)
HAIR_COLOUR: Phrases = _table(
    {
        "black": "black | black | jet-black | raven",
        "brown": "brown | brown | brunette | chestnut",
        "red": "red | red | ginger | copper-red",
        "blond": "blond | blonde | fair | golden",
    }
)
CLOTHES: Phrases = _table(
    {
        "red": "red | crimson | bright red",
        "blue": "blue | navy | royal blue",
        "green": "green | emerald | bright green",
        "yellow": "yellow | golden | bright yellow",
        "grey": "grey | gray | dark grey",
    }
)
EYES: Phrases = _table(
    {
        "blue": "blue eyes | bright blue eyes | blue-eyed looks",
        "green": "green eyes | emerald eyes | bright green eyes",
        "brown": "brown eyes | dark brown eyes | hazel eyes",
    }
)
BACKGROUND: Phrases = _table(
    {
        "green": "green | light green | pale green",
        "blue": "blue | light blue | sky-blue",
        "grey": "grey | gray | light grey",
        "orange": "orange | light orange | warm orange",
    }
)

RESERVED: dict[str, Phrases] = {
    "size": _table(
        {
            "small": "rather small | very little",
            "large": "very big | really large",
        }
    ),
    "colour": _table(
        {
            "red": "deep red | ruby red",
            "green": "emerald green | deep green",
            "blue": "azure blue | bright blue",
            "yellow": "golden yellow | deep yellow",
            "purple": "violet purple | bright purple",
            "orange": "deep orange | amber orange",
            "white": "bright white | ivory white",
            "pink": "deep pink | rose pink",
        }
    ),
    "shape": _table(
        {
            "ball": "round sphere | round orb",
            "square": "square block | square box",
            "triangle": "triangle shape | three-cornered triangle",
            "star": "star with five points | pointed star",
            "heart": "love heart shape",
        }
    ),
    "motion": _table(
        {
            "moves left": "flies leftward | rolls left | heads to the left",
            "moves right": "flies rightward | rolls right | heads to the right",
            "rises": "flies upward | climbs up | ascends into the sky",
            "falls": "sinks down | drops down | descends to the ground",
            "bounces": "hops around, up and down | leaps up and down | keeps hopping",
            "spins": "whirls around | twirls on the spot | keeps spinning",
            "grows": "becomes bigger | expands in size | gets huge",
            "shrinks": "becomes tiny | contracts in size | gets small",
            "stays still": "rests in place | remains motionless | stays stationary",
        }
    ),
    "place": _table(
        {
            "meadow": "grassy meadow | green pasture",
            "sea": "open ocean | ocean waves",
            "desert": "desert dunes | desert sand",
            "city": "city buildings | town rooftops",
        }
    ),
    "light": _table(
        {
            "day": "in bright sunshine | at bright noon",
            "sunset": "in the sunset glow | in the light of sundown",
            "night": "in the dark night | at dark midnight",
        }
    ),
    "camera": _table(
        {
            "static": "the camera keeps still | the view is static",
            "pans left": "the view moves to the left | the camera heads left",
            "pans right": "the view moves to the right | the camera heads right",
            "zooms in": "the view gets closer | the camera dollies closer",
            "zooms out": "the view pulls back | the camera backs away",
        }
    ),
    "tag": _table(
        {
            "static": "fixed static camera | static view",
            "pans left": "slow left pan | camera turns left",
            "pans right": "slow right pan | camera turns right",
            "zooms in": "camera zoom in | slow push in",
            "zooms out": "camera zoom out | slow pull back",
        }
    ),
}

FILLERS_BEFORE = _list(
    "a video of | video of | please show | show me | a clip of | scene with | i want to see |"
    " generate | a short film of | animation of | create a video where | here | an animated"
    " drawing of | imagine | we see | footage of | wide shot of | close-up of"
)
FILLERS_AFTER = _list(
    "cinematic | high quality | 4k | smooth motion | beautiful | flat vector style | highly"
    " detailed | animated | masterpiece | 2d animation | calm mood | simple shapes |"
    " minimalist | best quality | soft shading | please | for two seconds | loopable"
)
FLUFF = _list(
    "Medium shot. | Wide shot. | Close-up. | Soft warm light fills the frame. | The mood is"
    " calm and quiet. | The composition is simple and balanced. | The style is a clean flat"
    " animation. | Soft shadows add depth. | The colours are vivid. | Nothing else can be"
    " seen. | The scene is peaceful. | The image is sharp and clean. | A gentle atmosphere"
    " surrounds everything. | The animation is smooth and continuous. | The lighting is soft"
    " and even. | The edges are crisp. | Minimalist illustration style. | The air is clear. |"
    " It feels like a picture book. | The background stays simple. | The shot is centred on"
    " the subject. | Cinematic style with rich contrast. | The motion is slow and steady. |"
    " Subtle gradients colour the picture. | The horizon is visible in the distance. |"
    " Everything is drawn with soft shading."
)
NONSENSE = (
    "",
    *_list(
        "blurry, low quality | a dog runs through the house | worst quality, deformed hands |"
        " overexposed, static, blurred details, subtitles | hello world | a car drives on a road |"
        " cooking pasta in a kitchen | text, watermark, logo | an elephant and a bicycle | the"
        " quick brown fox jumps | something nice | a video | abstract art | test | ugly,"
        " distorted, jpeg artifacts, bad anatomy | two cats playing chess | high quality"
    ),
)
