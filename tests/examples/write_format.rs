//! Writes the fixture of the newest format of tables and checkpoints, into `tests/golden`.

use lsie_dataflow::checkpoint::manifest::FORMAT;

fn main() {
    lsie_tests::format::write(FORMAT);
}
