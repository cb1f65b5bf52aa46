"""A made-up shop as two tables, in the form in which people bring their own: documents and order lines.

Everything in it is invented. What a customer puts into a basket follows an *occasion* (a night in the forest, a day of
baking), and often one brand. A description says what the thing is, and only sometimes what it is for. So texts know
which things are alike and which brand they are of, orders know what goes together, and neither knows all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from workshop.errors import DataInvalidError

DOCUMENT_COLUMNS = ("product_id", "title", "text")
ORDER_COLUMNS = ("order_id", "customer_id", "time", "product_id")

# occasion: what it is called in a description, and what is bought for it as "noun: what it is"
_OCCASIONS = {
    "a night in the forest": (
        "tent: sleeps two and stands without pegs",
        "sleeping bag: filled with down and warm below zero",
        "head torch: throws a beam of sixty metres",
        "camping stove: boils a litre of water in four minutes",
        "folding mat: keeps the cold of the ground away",
        "enamel mug: survives a fall on rock",
        "rope: eight metres, woven from nylon",
    ),
    "a day of baking": (
        "mixing bowl: deep enough for two kilograms",
        "rolling pin: beech, with handles that turn",
        "cake tin: opens at the side with one clip",
        "kitchen scale: shows single grams",
        "icing bag: comes with six nozzles",
        "oven glove: lined with felt up to the elbow",
        "sieve: fine mesh in a ring of steel",
    ),
    "painting a room": (
        "wall paint: white, covers in one coat",
        "paint roller: sheds no lint",
        "masking tape: comes off without a trace",
        "dust sheet: four by five metres, can be washed",
        "step ladder: five steps with a rail",
        "flat brush: reaches into corners",
        "filler: closes cracks and can be sanded after an hour",
    ),
    "the first garden bed": (
        "spade: pointed blade on a shaft of ash",
        "watering can: ten litres with a fine rose",
        "seed tray: sixty cells under a clear lid",
        "garden gloves: thorns do not come through",
        "compost: sieved, without peat",
        "hand fork: loosens soil between seedlings",
        "plant labels: slate, written on with chalk",
    ),
    "a long bicycle tour": (
        "pannier: closes by rolling and keeps water out",
        "inner tube: fits tyres of twenty-eight inches",
        "hand pump: six bars, clips to the frame",
        "chain oil: stays on in the rain",
        "cycling shorts: padded for ten hours in the saddle",
        "bicycle lock: a chain in a sleeve of cloth",
        "handlebar lamp: charged by cable in two hours",
    ),
    "an evening of board games": (
        "card game: two to six players, twenty minutes",
        "dice tower: rolls without bumping the table",
        "strategy game: builds a city over two hours",
        "quiz box: a thousand questions on small cards",
        "playing cards: linen finish, fifty-five of them",
        "score pad: lines for eight players",
        "puzzle: a thousand pieces of an old map",
    ),
    "a newborn's first weeks": (
        "baby blanket: knitted from cotton",
        "night light: glows amber and turns itself off",
        "sling: carries from birth to three years",
        "bottle set: glass, with slow teats",
        "changing mat: wipes clean and folds in three",
        "muslin cloths: ten of them, washed soft",
        "baby monitor: hears a breath two rooms away",
    ),
    "working at home": (
        "desk lamp: arm of steel, light like noon",
        "laptop stand: lifts the screen to the eyes",
        "headset: cancels the neighbour's drill",
        "notebook: dotted pages that lie flat",
        "desk mat: felt on cork",
        "office chair: backrest of mesh that follows",
        "cable box: hides eight plugs",
    ),
    "a swim in the sea": (
        "swimsuit: dries within the hour",
        "goggles: do not mist",
        "beach towel: woven flat, sheds sand",
        "sun cream: factor fifty, without scent",
        "snorkel: keeps the wave out",
        "dry bag: twenty litres, closes by rolling",
        "beach shelter: opens by itself and casts shade",
    ),
    "a winter walk": (
        "wool socks: merino, knee high",
        "thermos: hot for twelve hours",
        "mittens: windproof, lined with fleece",
        "snow spikes: pull over any boot",
        "scarf: two metres of lambswool",
        "hand warmer: runs eight hours on one filling",
        "walking poles: fold into forty centimetres",
    ),
    "the family's aquarium": (
        "glass tank: sixty litres, edges polished",
        "water filter: runs without a sound",
        "fish food: flakes with spirulina",
        "gravel: rounded and washed",
        "tank heater: holds twenty-five degrees",
        "water test: reads six values in a minute",
        "moss ball: clears the water of nitrate",
    ),
    "a string quartet at home": (
        "violin strings: steel core, wound with silver",
        "rosin: dark, in a cloth",
        "music stand: folds into a bag",
        "metronome: ticks or blinks",
        "tuner: clips to the scroll",
        "cello mute: rubber, takes the edge off",
        "sheet music: forty duets in large print",
    ),
}
_BRANDS = ("Alder", "Birkholt", "Corvane", "Dunmore", "Eskdale", "Farrow", "Gransee", "Hollin")
_MANNERS = (
    "Plain and made to last.",
    "The light version for people who carry much.",
    "A bargain that does what it should.",
    "Made by hand in small numbers.",
    "Comes with a guarantee of ten years.",
)


@dataclass(frozen=True)
class Recipe:
    """The numbers that give the shop its character."""

    says_occasion: float = 0.4  # share of the descriptions that say what the thing is for
    new_share: float = 0.06  # of the products, which nobody has ordered yet
    popularity_tail: float = 1.6  # exponent of the Pareto distribution of popularity
    stray: float = 0.15  # of the order lines, which have nothing to do with the occasion
    same_brand: float = 0.5  # of the other lines, which are of the basket's brand where it has such a thing
    mean_lines: float = 3.0  # of a basket, beyond the two that each has
    favourites: int = 3  # occasions of a customer


def example_shop(
    products: int, orders: int, *, seed: int = 0, recipe: Recipe | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Invent a shop.

    Args:
        products: number of products, at most one for each kind of thing and brand.
        orders: number of orders that are drawn, eight a customer; one that finds nothing in stock is left out.
        seed: of everything that is drawn.
        recipe: the shop's character.

    Returns:
        A table of :data:`DOCUMENT_COLUMNS` and one of :data:`ORDER_COLUMNS`, a row for each line of an order.

    Raises:
        DataInvalidError: more products than there are kinds and brands.
    """
    recipe = recipe or Recipe()
    rng = np.random.default_rng(seed)
    occasion_of, things = zip(
        *[(n, thing) for n, all_ in enumerate(_OCCASIONS.values()) for thing in all_], strict=True
    )
    kinds = len(things) * len(_BRANDS)
    if products > kinds:
        raise DataInvalidError(f"products: expected at most {kinds}, received {products}")
    chosen = rng.permutation(kinds)[:products]
    thing, brand = chosen // len(_BRANDS), chosen % len(_BRANDS)
    occasion = np.array(occasion_of)[thing]
    rows = [
        _document(n, things[t], _BRANDS[b], int(o), rng, recipe)
        for n, (t, b, o) in enumerate(zip(thing, brand, occasion, strict=True))
    ]
    lines = _orders(occasion, brand, orders, rng, recipe)
    ids = np.array([row[0] for row in rows])
    table = pd.DataFrame(lines, columns=["order", "customer", "product"])
    order_lines = pd.DataFrame(
        {
            "order_id": "o" + table["order"].astype(str),
            "customer_id": "c" + table["customer"].astype(str),
            "time": table["order"] + 1,
            "product_id": ids[table["product"]],
        }
    )
    return pd.DataFrame(rows, columns=list(DOCUMENT_COLUMNS)), order_lines


def _document(
    number: int, thing: str, brand: str, occasion: int, rng: np.random.Generator, recipe: Recipe
) -> tuple[str, str, str]:
    noun, description = thing.split(": ")
    sentences = [f"{brand} {noun}: {description}.", str(rng.choice(_MANNERS))]
    if rng.random() < recipe.says_occasion:
        sentences.append(f"Good for {list(_OCCASIONS)[occasion]}.")
    return f"p{number:04d}", f"{brand} {noun}", " ".join(sentences)


def _orders(
    occasion: np.ndarray, brand: np.ndarray, orders: int, rng: np.random.Generator, recipe: Recipe
) -> list[tuple[int, int, int]]:
    popularity = rng.pareto(recipe.popularity_tail, len(occasion)) + 1.0
    popularity[rng.random(len(occasion)) < recipe.new_share] = 0.0
    customers = max(1, orders // 8)
    favourites = rng.integers(len(_OCCASIONS), size=(customers, recipe.favourites))
    lines = []
    for order in range(orders):
        customer = int(rng.integers(customers))
        of_occasion = popularity * (occasion == rng.choice(favourites[customer]))
        of_brand = of_occasion * (brand == rng.integers(len(_BRANDS)))
        basket: list[int] = []
        for _ in range(2 + rng.poisson(recipe.mean_lines)):
            among = popularity if rng.random() < recipe.stray else of_occasion
            if among is of_occasion and rng.random() < recipe.same_brand:
                among = of_brand
            among = among.copy()
            among[basket] = 0.0
            if among.sum() > 0:
                basket.append(int(rng.choice(len(among), p=among / among.sum())))
        lines += [(order, customer, product) for product in basket]
    return lines
