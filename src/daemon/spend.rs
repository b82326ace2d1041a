//! The book of what was spent in a day, in a file that all processes of a data directory share: `spend`.
//!
//! ```text
//! offset  bytes   a record, little-endian
//!      0      4   CRC32C of what follows
//!      4      2   version, 1
//!      6      1   scope: 0 day, 1 route, 2 agent
//!      7      1   length of the name
//!      8     64   name, and zeros
//!     72      4   day, counted from 1970-01-01 (UTC)
//!     76      8   spent, billionths of a dollar
//!     84      8   open
//!     92      8   requests of unknown price
//!    100     28   zeros
//! ```
//! Whoever has a turn holds the file's lock, reads all records, and writes those that changed, each with one write. Always true:
//! - A turn that is over survives the process, killed or not. It is not synced: after a power cut the file may show less.
//! - A record that was torn or is damaged is told of and passed over.
//! - Records of days that are over are written over, so the file does not grow with time.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::settings::Settings;
use crate::{
    router::{Account, Book, Day, Ledger, Purse, Scope},
    run::NanoDollars,
};

/// The name of the file in the data directory.
const FILE_NAME: &str = "spend";

const RECORD_BYTES: usize = 128;

const NAME_BYTES: usize = 64;

const VERSION: u16 = 1;

/// Most records, 128 KiB: two days of more budgets than anybody keeps an eye on.
const RECORDS_MAX: usize = 1024;

/// How long to wait for the lock. Others hold it for microseconds, unless they are stopped in the midst of it.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// How often the lock is tried meanwhile.
const LOCK_POLL: Duration = Duration::from_millis(1);

/// The budgets of these settings, and the book of this data directory; `None` when there are none.
pub(super) fn purse(settings: &Settings, home: &Path) -> Option<Purse> {
    let budgets = settings.budgets.clone();
    (!budgets.is_empty()).then(|| Purse { budgets, book: Arc::new(SpendFile { path: home.join(FILE_NAME) }) })
}

/// The file, opened anew for each turn, so that turns within one process exclude each other as those of several do.
#[derive(Debug)]
struct SpendFile {
    path: PathBuf,
}

impl Book for SpendFile {
    fn turn(&self, work: &mut dyn FnMut(&mut Ledger)) -> io::Result<()> {
        self.take_turn(work).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display())))
    }
}

impl SpendFile {
    fn take_turn(&self, work: &mut dyn FnMut(&mut Ledger)) -> io::Result<()> {
        let file = lock(open(&self.path)?)?;
        let mut bytes = Vec::new();
        (&file).take((RECORDS_MAX * RECORD_BYTES) as u64).read_to_end(&mut bytes)?;
        let mut slots: Vec<Option<Account>> = bytes.chunks(RECORD_BYTES).map(decode).collect();
        let damaged = bytes.chunks(RECORD_BYTES).zip(&slots).filter(|(bytes, slot)| slot.is_none() && !is_blank(bytes));
        for (record, _) in damaged {
            let file = self.path.display();
            tracing::warn!(%file, ?record, "a record of what was spent is damaged: it is passed over");
        }
        let mut ledger = Ledger { accounts: slots.iter().flatten().cloned().collect() };
        work(&mut ledger);
        // The slots of forgotten accounts are free.
        for slot in &mut slots {
            slot.take_if(|account| !ledger.accounts.iter().any(|kept| is_same(kept, account)));
        }
        for account in &ledger.accounts {
            let mine = |slot: &Option<Account>| slot.as_ref().is_some_and(|it| is_same(it, account));
            let at = slots.iter().position(mine).or_else(|| slots.iter().position(Option::is_none));
            let at = at.unwrap_or(slots.len());
            if slots.get(at) == Some(&Some(account.clone())) {
                continue;
            }
            if at >= RECORDS_MAX {
                return Err(io::Error::other("there is no room for another budget today"));
            }
            file.write_all_at(&encode(account)?, (at * RECORD_BYTES) as u64)?;
            slots.resize(slots.len().max(at + 1), None);
            slots[at] = Some(account.clone());
        }
        Ok(())
    }
}

/// Whether these are states of one account.
fn is_same(one: &Account, other: &Account) -> bool {
    (one.day, &one.scope) == (other.day, &other.scope)
}

fn open(path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            open()
        }
        opened => opened,
    }
}

fn lock(file: File) -> io::Result<File> {
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "another process holds its lock"));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_POLL),
        }
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn encode(account: &Account) -> io::Result<[u8; RECORD_BYTES]> {
    let (kind, name) = match &account.scope {
        Scope::Day => (0, ""),
        Scope::Route(name) => (1, name.as_str()),
        Scope::Agent(name) => (2, name.as_str()),
    };
    let length = u8::try_from(name.len()).ok().filter(|length| usize::from(*length) <= NAME_BYTES);
    let length = length.ok_or_else(|| io::Error::other(format!("the name {name:?} is too long")))?;
    let mut record = [0; RECORD_BYTES];
    record[4..6].copy_from_slice(&VERSION.to_le_bytes());
    record[6] = kind;
    record[7] = length;
    record[8..8 + name.len()].copy_from_slice(name.as_bytes());
    record[72..76].copy_from_slice(&account.day.0.to_le_bytes());
    record[76..84].copy_from_slice(&account.spent.0.to_le_bytes());
    record[84..92].copy_from_slice(&account.open.0.to_le_bytes());
    record[92..100].copy_from_slice(&account.unpriced.to_le_bytes());
    let sum = crc32c::crc32c(&record[4..]);
    record[..4].copy_from_slice(&sum.to_le_bytes());
    Ok(record)
}

/// The account in a record; `None` when it holds none, or none that can be read.
fn decode(record: &[u8]) -> Option<Account> {
    let record: &[u8; RECORD_BYTES] = record.try_into().ok()?;
    let number = |at: usize| Some(u64::from_le_bytes(record[at..at + 8].try_into().ok()?));
    if crc32c::crc32c(&record[4..]) != u32::from_le_bytes(record[..4].try_into().ok()?)
        || u16::from_le_bytes(record[4..6].try_into().ok()?) != VERSION
    {
        return None;
    }
    let name = str::from_utf8(record[8..8 + NAME_BYTES].get(..usize::from(record[7]))?).ok()?.to_owned();
    let scope = match record[6] {
        0 => Scope::Day,
        1 => Scope::Route(name),
        2 => Scope::Agent(name),
        _ => return None,
    };
    Some(Account {
        day: Day(i32::from_le_bytes(record[72..76].try_into().ok()?)),
        scope,
        spent: NanoDollars(number(76)?),
        open: NanoDollars(number(84)?),
        unpriced: number(92)?,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::router::Allowance;

    const TODAY: Day = Day(20_000);

    fn file() -> (tempfile::TempDir, SpendFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("home").join(FILE_NAME);
        (dir, SpendFile { path })
    }

    fn budget(scope: Scope) -> Allowance {
        Allowance { scope, most: NanoDollars(1_000_000) }
    }

    fn ledger(file: &SpendFile) -> Ledger {
        let mut found = Ledger::default();
        file.turn(&mut |ledger| found = ledger.clone()).unwrap();
        found
    }

    #[test]
    fn records_are_the_same_when_read_again() {
        let long = "x".repeat(NAME_BYTES);
        for scope in [Scope::Day, Scope::Route("smart".into()), Scope::Agent(long)] {
            let (spent, open) = (NanoDollars(u64::MAX), NanoDollars(7));
            let account = Account { day: Day(-1), scope, spent, open, unpriced: 3 };
            let record = encode(&account).unwrap();
            assert_eq!(decode(&record), Some(account));
            for at in 0..RECORD_BYTES {
                let mut damaged = record;
                damaged[at] ^= 0x10;
                assert_eq!(decode(&damaged), None, "byte {at}");
            }
        }
        assert_eq!(decode(&[0; RECORD_BYTES]), None);
        assert!(encode(&Account { scope: Scope::Agent("x".repeat(65)), ..account() }).is_err());
    }

    fn account() -> Account {
        Account { day: TODAY, scope: Scope::Day, spent: NanoDollars(5), open: NanoDollars(6), unpriced: 7 }
    }

    #[test]
    fn a_turn_is_found_by_the_next_one() {
        let (_dir, file) = file();
        assert_eq!(ledger(&file), Ledger::default());
        let budgets = [budget(Scope::Day), budget(Scope::Route("smart".into()))];
        file.turn(&mut |ledger| ledger.reserve(&budgets, TODAY, Some(NanoDollars(100))).unwrap()).unwrap();
        file.turn(&mut |ledger| ledger.settle(&budgets[..1], TODAY, NanoDollars(100), NanoDollars(30))).unwrap();
        let sums: Vec<_> = ledger(&file).accounts.iter().map(|it| (it.spent.0, it.open.0)).collect();
        assert_eq!(sums, [(30, 0), (0, 100)]);
    }

    #[test]
    fn the_file_does_not_grow_with_days() {
        let (_dir, file) = file();
        for day in 0..50 {
            for scope in [Scope::Day, Scope::Agent("triage".into())] {
                let reserve =
                    |ledger: &mut Ledger| ledger.reserve(&[budget(scope.clone())], Day(day), Some(NanoDollars(1)));
                file.turn(&mut |ledger| reserve(ledger).unwrap()).unwrap();
            }
        }
        assert_eq!(fs::metadata(&file.path).unwrap().len(), 4 * RECORD_BYTES as u64);
        assert!(ledger(&file).accounts.iter().all(|account| account.day.0 >= 48 && account.open.0 == 1));
    }

    #[test]
    fn damage_costs_one_record() {
        let (_dir, file) = file();
        let budgets = [budget(Scope::Day), budget(Scope::Route("smart".into()))];
        file.turn(&mut |ledger| ledger.reserve(&budgets, TODAY, Some(NanoDollars(100))).unwrap()).unwrap();
        let mut bytes = fs::read(&file.path).unwrap();
        bytes[80] ^= 1;
        bytes.extend(b"torn");
        fs::write(&file.path, bytes).unwrap();
        let kept: Vec<_> = ledger(&file).accounts.into_iter().map(|account| account.scope).collect();
        assert_eq!(kept, [Scope::Route("smart".into())]);
        file.turn(&mut |ledger| ledger.reserve(&budgets, TODAY, Some(NanoDollars(1))).unwrap()).unwrap();
        assert_eq!(ledger(&file).accounts.len(), 2);
    }

    #[test]
    fn a_full_file_books_nothing_more() {
        let (_dir, file) = file();
        let agent = |at: usize| Account { scope: Scope::Agent(format!("a{at}")), ..account() };
        file.turn(&mut |ledger| ledger.accounts = (0..RECORDS_MAX).map(agent).collect()).unwrap();
        let error = file.turn(&mut |ledger| ledger.accounts.push(agent(RECORDS_MAX))).unwrap_err();
        assert!(error.to_string().ends_with("spend: there is no room for another budget today"), "{error}");
    }

    /// What each of several writers does: reserve and settle, one nano-dollar each time, as often as the budget allows.
    fn spend_all(path: &Path) -> u64 {
        let (file, budgets) =
            (SpendFile { path: path.to_owned() }, [Allowance { scope: Scope::Day, most: NanoDollars(600) }]);
        let mut granted = 0;
        loop {
            let mut short = false;
            file.turn(&mut |ledger| short = ledger.reserve(&budgets, TODAY, Some(NanoDollars(1))).is_err()).unwrap();
            if short {
                return granted;
            }
            granted += 1;
            file.turn(&mut |ledger| ledger.settle(&budgets, TODAY, NanoDollars(1), NanoDollars(1))).unwrap();
        }
    }

    /// The same test program, started as one of the processes: see the test below.
    #[test]
    fn spends_as_another_process() {
        if let Some(path) = std::env::var_os("AGENTD_TEST_SPEND") {
            println!("granted={}.", spend_all(Path::new(&path)));
        }
    }

    #[test]
    fn processes_and_threads_share_one_book() {
        let (_dir, file) = file();
        let start = || {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "daemon::spend::tests::spends_as_another_process", "--nocapture"])
                .env("AGENTD_TEST_SPEND", &file.path)
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        };
        let others = [start(), start()];
        let threads: Vec<_> = (0..2)
            .map(|_| {
                thread::spawn({
                    let path = file.path.clone();
                    move || spend_all(&path)
                })
            })
            .collect();
        let mut granted: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        for other in others {
            let output = other.wait_with_output().unwrap();
            let told = String::from_utf8(output.stdout).unwrap();
            let (_, rest) = told.split_once("granted=").expect(&told);
            granted += rest.split_once('.').unwrap().0.parse::<u64>().unwrap();
        }
        assert_eq!(granted, 600, "what was granted is what the budget held");
        assert_eq!(ledger(&file).accounts[0].spent, NanoDollars(600));
    }
}
