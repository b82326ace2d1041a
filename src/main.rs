//! The program.

fn main() {
    agentd::guard();
}
