from benchmark_records import operator_row, record, row

from spanetv2.benchmark.tables import describe_machine, describe_settings, left_out, tables_of

PEER = [0.2, 0.4, 0.2]


def test_tables_of_networks_at_one_shape():
    (table,) = tables_of(
        record(
            [
                row("spanetv2_s18_pure", [0.1, 0.2, 0.1], reference=PEER, memory_mib=30.2),
                row("convformer_s18", PEER, reference=PEER, memory_mib=60.0),
            ]
        )
    )
    assert table.title == "inference, compiled, float32, batch 8, 224 x 224"
    assert table.header == [
        *("model", "params (M)", "ms", "images/s", "speed / convformer_s18", "spread"),
        "memory (MiB)",
    ]
    assert table.rows[0] == ["spanetv2_s18_pure", "2.5", "100.0", "80.0", "2.00", "100 %", "30"]
    assert table.rows[1][4] == "1.00"


def test_tables_of_a_sweep_have_pixels_and_memory_per_pixel():
    rows = [
        row("convformer_s18", [0.1] * 3, size=size, batch=batch, memory_mib=20.0)
        for batch, size in ((1, 1000), (4, 500))
    ]
    (table,) = tables_of(record(rows))
    assert table.title == "inference, compiled, float32"
    assert table.header[1:3] == ["batch", "size"]
    assert table.header[5] == "megapixels/s"
    assert table.header[-1] == "MiB/megapixel"
    assert [line[1:3] for line in table.rows] == [["4", "500"], ["1", "1000"]]
    assert [line[5] for line in table.rows] == ["10.00", "10.00"]
    assert [line[-1] for line in table.rows] == ["20", "20"]


def test_tables_compare_the_settings_of_a_network():
    slow = row("spanetv2_s18_pure", [0.4, 0.8, 0.4], mode="eager")
    rows = [
        slow,
        row("spanetv2_s18_pure", [0.2, 0.4, 0.2]),
        row("spanetv2_s18_pure@onnx", [0.1, 0.2, 0.1], mode="onnx"),
        row("spanetv2_s18_pure", [0.05, 0.1, 0.05], mode="openvino", dtype="int8"),
        row("spanetv2_s18_pure@optimized", [0.1, 0.16, 0.1], dtype="bfloat16"),
        row("convformer_s18", PEER, mode="eager"),
    ]
    table = tables_of(record(rows))[-1]
    assert table.title == "settings of spanetv2_s18_pure: inference, batch 8, 224 x 224"
    assert table.header == ["setting", "images/s", "speed / eager, float32"]
    assert table.rows == [
        ["OpenVINO, int8", "160.0", "8.00"],
        ["ONNX Runtime, float32", "80.0", "4.00"],
        ["optimised, compiled, bfloat16", "80.0", "4.00"],
        ["compiled, float32", "40.0", "2.00"],
        ["eager, float32", "20.0", "1.00"],
    ]


def test_tables_of_operators_show_the_floor():
    rows = [
        operator_row("local", [1.0] * 3, stage=2, side=28),
        operator_row("sepconv", [2.0] * 3, stage=1, speed_ratio=1.0),
    ]
    (table,) = tables_of(record(rows, kind="operators"))
    assert table.title == "token mixers, inference, eager, float32, batch 128, 224 x 224"
    assert [line[0] for line in table.rows] == ["sepconv", "local"]
    assert table.rows[1] == [
        *("local", "2", "64", "28 x 28", "1000000", "250000", "500000", "50 %", ""),
    ]


def test_tables_show_energy_and_name_what_a_network_cannot_do():
    rows = [row("a", [1.0] * 3) | {"joules_per_image": 1.2345}, row("b", [1.0] * 3)]
    told = {"model": "mask_rcnn:a", "stage": None, "reason": "cannot be exported whole"}
    made = record(rows[:1], left_out=[told, told], energy_source="powercap: package-0")
    (table,) = tables_of(made)
    assert table.header[-1] == "J/image"
    assert table.rows[0][-1] == "1.23"
    assert left_out(made) == ["mask_rcnn:a (cannot be exported whole)"]
    assert "energy of all that ran meanwhile (powercap: package-0)" in describe_settings(made)
    operators = record([operator_row("a", [1.0] * 3, joules_per_image=0.5)], kind="operators")
    assert tables_of(operators)[0].rows[0][-1] == "0.5"


def test_tables_take_a_revision_for_a_part_of_the_name():
    label = "hf-hub:me/flowers@v1"
    rows = [row(label, [2.0] * 3), row(f"{label}@maps", [1.0] * 3)]
    table = tables_of(record(rows))[-1]
    assert table.title.startswith(f"settings of {label}: ")
    assert [line[0] for line in table.rows] == ["maps, compiled, float32", "compiled, float32"]


def test_descriptions_name_machine_and_settings():
    assert describe_machine(record([])) == "A Processor"
    assert describe_machine(record([], device="cuda:1")) == "Another GPU"
    assert describe_settings(record([])) == ("2 threads, 4 cores; 3 rounds after 1 for warming up.")
    assert "float32: highest" in describe_settings(record([], device="cuda"))
