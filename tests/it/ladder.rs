//! What the ladder is worth in whole runs: a small part of what `benches/repair` measures, with its faults and its tasks.

#[path = "../../benches/repair/cases.rs"]
mod cases;
#[path = "../../benches/repair/cut.rs"]
mod cut;
#[path = "../../benches/repair/name.rs"]
mod name;
#[path = "../../benches/repair/rounds.rs"]
mod rounds;
#[path = "../../benches/repair/shape.rs"]
mod shape;
#[path = "../../benches/repair/syntax.rs"]
mod syntax;
#[path = "../../benches/repair/text.rs"]
mod text;
#[path = "../../benches/repair/tokens.rs"]
mod tokens;
#[path = "../../benches/repair/tools.rs"]
mod tools;
#[path = "../../benches/repair/values.rs"]
mod values;

use crate::model;
use rounds::rounds;

#[tokio::test]
async fn a_model_that_spoils_a_tenth_of_its_calls_does_all_its_tasks_and_no_other_call_is_made() {
    let on = rounds(40, 0.1, true, 7).await;
    assert_eq!((on.tasks, on.done, on.wrong), (40, 40, 0), "{on:?}");
    // Without it more has to be asked again, and nothing wrong is done either.
    let off = rounds(40, 0.1, false, 7).await;
    assert!(off.again > on.again && off.repairs < on.repairs && off.wrong == 0, "{on:?} {off:?}");
}
