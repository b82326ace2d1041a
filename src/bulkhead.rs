//! Keeps what goes wrong in one place from ending the process.
//!
//! - [`roomy`] runs work that may recurse deeply on a thread with a large stack. A stack overflow aborts the process, and no
//!   library that we parse with promises to return an error instead, so callers also bound the size of what they pass in.
//! - [`caught`] turns a panic inside a future into an error, so that one run fails and the others continue.

use std::{any::Any, panic::AssertUnwindSafe, thread};

use futures_util::FutureExt;

/// The stack of [`roomy`] threads. Only the pages that are touched take memory.
const STACK_BYTES: usize = 256 << 20;

/// A panic that was caught, or a thread that could not be started; the text is the panic's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Panicked(pub String);

impl Panicked {
    fn new(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        Panicked(text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned()))
    }
}

/// Runs `work` on a thread with a large stack and waits for it.
///
/// # Errors
/// When it panics, or no thread can be started.
pub fn roomy<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Panicked> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("roomy".to_owned()).stack_size(STACK_BYTES);
        let running = thread.spawn_scoped(scope, work).map_err(|error| Panicked(error.to_string()))?;
        running.join().map_err(|payload| Panicked::new(&*payload))
    })
}

/// Runs a future to its end.
///
/// # Errors
/// When it panics. What it borrowed may then be half changed: callers drop it.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|payload| Panicked::new(&*payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_recursion_has_room_and_a_panic_is_an_error() {
        fn deep(left: u64) -> u64 {
            if left == 0 { 0 } else { 1 + std::hint::black_box(deep(std::hint::black_box(left - 1))) }
        }
        assert_eq!(roomy(|| deep(400_000)), Ok(400_000));
        assert_eq!(roomy(|| -> u8 { panic!("no {}", 7) }), Err(Panicked("no 7".to_owned())));
    }

    #[tokio::test]
    async fn a_panic_in_a_future_is_an_error() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        assert_eq!(caught(async { panic!("x") }).await, Err::<(), _>(Panicked("x".to_owned())));
    }
}
