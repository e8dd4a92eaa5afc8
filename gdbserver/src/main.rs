//! `trapline-gdbserver`: the crate's documentation and `--help` say how.

fn main() {
    std::process::exit(trapline_gdbserver::run(std::env::args_os()));
}
