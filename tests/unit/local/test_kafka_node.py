"""The configuration that a Kafka node is given."""

from pathlib import Path

import pytest

from headwater.local.kafka import KafkaNode, KafkaStartError


def test_the_folders_name_is_written_as_java_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "données \N{GRINNING FACE} \\ 1"
    (folder / "records").mkdir(parents=True)
    (folder / "records" / "meta.properties").touch()  # formatted already
    KafkaNode(folder, tmp_path / "kafka.log", 1, 2).prepare([])
    lines = (folder / "server.properties").read_bytes().decode("ascii").splitlines()
    assert rf"log.dirs={tmp_path}/donn\u00e9es \ud83d\ude00 \\ 1/records" in lines
    assert "listeners=PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2" in lines


@pytest.mark.parametrize(("name", "problem"), [("a,b", "comma"), ("a\nb", "control"), ("a\udcffb", "UTF-8")])
def test_a_path_that_kafka_would_take_for_others_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(KafkaStartError, match=problem):
        KafkaNode(tmp_path / name, tmp_path / "kafka.log", 1, 2).prepare([])
    assert list(tmp_path.iterdir()) == []
