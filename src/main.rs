//! The binary `pii-vault`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pii_vault::cli::main()
}
