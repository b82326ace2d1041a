//! Kills the process at a chosen point, so that tests can stop a run at every place where stopping matters.
//!
//! Code that has, or is about to have, an effect on the world calls [`point`] before and after. Without the feature
//! `chaos` that does nothing. With it, points count from one within a process, and
//! - `AGENTD_CRASH_AT=n` makes the process send itself SIGKILL at the n-th point;
//! - `AGENTD_CRASH_LOG=path` appends a line `number name` for each point reached, before the process dies there, so
//!   that a harness learns how many points there are and what they stand for.
//!
//! Both variables are read once, at the first point.

/// Counts this point, and kills the process if it is the chosen one. `name` says what is about to happen, or just did.
#[inline]
pub fn point(name: &str) {
    #[cfg(feature = "chaos")]
    enabled::point(name);
    #[cfg(not(feature = "chaos"))]
    let _ = name;
}

/// Panics if `AGENTD_PANIC_AT` has this name: what a fault of ours would do here.
#[inline]
pub fn fault(name: &str) {
    #[cfg(feature = "chaos")]
    enabled::fault(name);
    #[cfg(not(feature = "chaos"))]
    let _ = name;
}

#[cfg(feature = "chaos")]
mod enabled {
    use std::{
        env,
        fs::{File, OpenOptions},
        io::Write,
        sync::{Mutex, OnceLock, PoisonError},
    };

    use rustix::process::{Signal, getpid, kill_process};

    struct Points {
        crash_at: Option<u64>,
        log: Option<File>,
        passed: u64,
    }

    static POINTS: OnceLock<Mutex<Points>> = OnceLock::new();

    pub(super) fn point(name: &str) {
        // The lock keeps numbers and lines of the log in one order, whatever thread passes a point.
        let mut points =
            POINTS.get_or_init(|| Mutex::new(Points::from_env())).lock().unwrap_or_else(PoisonError::into_inner);
        points.passed += 1;
        let number = points.passed;
        if let Some(log) = &mut points.log
            && let Err(error) = log.write_all(format!("{number} {name}\n").as_bytes())
        {
            tracing::error!(%error, "a point is missing in AGENTD_CRASH_LOG");
        }
        if points.crash_at == Some(number) {
            let _ = kill_process(getpid(), Signal::KILL);
            // Only if the kernel refused: dying otherwise is still better than going on.
            std::process::abort();
        }
    }

    #[expect(clippy::panic, reason = "asked for")]
    pub(super) fn fault(name: &str) {
        static PANIC_AT: OnceLock<Option<String>> = OnceLock::new();
        if PANIC_AT.get_or_init(|| env::var("AGENTD_PANIC_AT").ok()).as_deref() == Some(name) {
            panic!("at {name}");
        }
    }

    impl Points {
        fn from_env() -> Self {
            let log = env::var_os("AGENTD_CRASH_LOG").and_then(|path| {
                let opened = OpenOptions::new().create(true).append(true).open(path);
                opened.inspect_err(|error| tracing::error!(%error, "AGENTD_CRASH_LOG cannot be written")).ok()
            });
            let crash_at = env::var("AGENTD_CRASH_AT").ok().and_then(|number| number.parse().ok());
            Points { crash_at, log, passed: 0 }
        }
    }
}

#[cfg(all(test, feature = "chaos"))]
mod tests {
    use std::{env, fs, os::unix::process::ExitStatusExt, process::Command};

    /// What the process of the next test does.
    #[test]
    #[ignore = "passes points in a process of its own, started by the test below"]
    fn pass_five_points() {
        for name in ["a", "b", "c", "d", "e"] {
            super::point(name);
        }
    }

    #[test]
    fn the_process_dies_at_the_chosen_point() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("points");
        let status = Command::new(env::current_exe().unwrap())
            .args(["chaos::tests::pass_five_points", "--exact", "--ignored"])
            .env("AGENTD_CRASH_AT", "3")
            .env("AGENTD_CRASH_LOG", &log)
            .output()
            .unwrap()
            .status;
        assert_eq!(status.signal(), Some(9));
        assert_eq!(fs::read_to_string(&log).unwrap(), "1 a\n2 b\n3 c\n");
    }

    #[test]
    fn without_a_chosen_point_all_are_passed() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("points");
        let status = Command::new(env::current_exe().unwrap())
            .args(["chaos::tests::pass_five_points", "--exact", "--ignored"])
            .env_remove("AGENTD_CRASH_AT")
            .env("AGENTD_CRASH_LOG", &log)
            .output()
            .unwrap()
            .status;
        assert!(status.success());
        assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 5);
    }
}
