"""Names of synthetic residents: common, long, dotted, and with characters that are hard to keep."""

from __future__ import annotations

import random
from typing import Final

_SURNAMES: Final = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎"
    "余潘杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文"
)
_DOUBLE_SURNAMES: Final = ("欧阳", "司马", "上官", "诸葛", "东方", "皇甫", "尉迟", "公孙", "慕容", "司徒")
_GIVEN: Final = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉萍红玲建国志文斌春梅海燕雪峰鹏飞宇轩浩然子涵欣怡梓"
    "萱诗雅思远佳慧晓东小龙永康庆丰瑞安"
)
# In Unicode's extensions, all but the last two outside the Basic Multilingual Plane.
_RARE: Final = "𠮷𬱖𬭎𫖯𣲗𬍛𫍯𬘭𬤇𫘝𡐓𪩘䶮㛃"
_DOTTED_PARTS: Final = (
    "阿依古丽", "买买提", "吐尔逊", "艾克拜尔", "古丽娜尔", "热依汗", "木合塔尔", "帕提古丽", "阿卜杜热合曼",
    "迪丽努尔", "叶尔江", "哈斯木", "库尔班江", "努尔麦麦提", "扎西次仁", "尼玛卓嘎", "丹增平措",
    "赛里克", "胡安尼西", "吉木乃",
)  # fmt: skip
_DOT: Final = "·"
# Groups of GB/T 3304 whose names are commonly written in parts with a dot between.
_DOTTED_GROUPS: Final = frozenset({"05", "17", "29", "41", "43", "44", "50", "07", "02"})
_RARE_SHARE: Final = 0.08
_SINGLE_SHARE: Final = 0.25
_DOUBLE_SURNAME_SHARE: Final = 0.04
LONGEST_NAME: Final = 50


def draw_name(chance: random.Random, ethnic_group: str) -> str:
    """A name of two to about fifteen characters."""
    if ethnic_group in _DOTTED_GROUPS:
        return _DOT.join(chance.sample(_DOTTED_PARTS, 2))
    surname = chance.choice(_DOUBLE_SURNAMES) if chance.random() < _DOUBLE_SURNAME_SHARE else chance.choice(_SURNAMES)
    count = 1 if chance.random() < _SINGLE_SHARE else 2
    given = "".join(chance.choice(_RARE if chance.random() < _RARE_SHARE else _GIVEN) for _ in range(count))
    return surname + given


def draw_long_name(chance: random.Random) -> str:
    """A dotted name of 44 to 50 characters."""
    name = _DOT.join(chance.sample(_DOTTED_PARTS, len(_DOTTED_PARTS)))
    return name[: chance.randint(LONGEST_NAME - 6, LONGEST_NAME)].rstrip(_DOT)


def draw_rare_name(chance: random.Random) -> str:
    """A name whose given name lies outside the Basic Multilingual Plane."""
    return chance.choice(_SURNAMES) + "".join(chance.sample(_RARE, 2))
