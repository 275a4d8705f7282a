from cutpoint.calibration.search.points import group_by_head, make_points
from cutpoint.sdk.bundle import CodecEntry, GraphFile, Span


def test_every_head_with_every_level_and_the_whole_model() -> None:
    file = (GraphFile("onnx", "f"),)
    spans = [
        Span(*key, file) for key in [(0, 1, "fp32"), (0, 1, "int8"), (0, 2, "fp32"), (0, 2, "int8"), (1, 2, "fp32")]
    ]
    codecs = [CodecEntry("0-webp", "webp", 0, 0, ("q10",)), CodecEntry("1-raw", "raw", 1, 1, ("fp16", "exact"))]
    points = make_points(spans, codecs, 2)
    assert [point.id for point in points] == [
        "cut0-webp-q10",
        "cut1-fp32-raw-fp16",
        "cut1-fp32-raw-exact",
        "cut1-int8-raw-fp16",
        "cut1-int8-raw-exact",
        "cut2-fp32",
        "cut2-int8",
    ]
    assert [point.local for point in points] == [False] * 5 + [True] * 2
    assert [len(group) for group in group_by_head(points)] == [1, 2, 2, 1, 1]
