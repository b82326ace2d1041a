//! The program: a guard when it is started as one, else the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    agentd::guard();
    agentd::cli::main()
}
