use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::levels::seal::SealedEntry;
use crate::levels::seal::SealedName;

const MAX: u64 = 8 << 20;
const KEY: SealKeyId = SealKeyId([7; 16]);

fn name(number: u32) -> SealedName {
    let mut name = [0; 32];
    // As an HMAC is: no order in it.
    let mut random = fastrand::Rng::with_seed(number.into());
    name.fill_with(|| random.u8(..));
    SealedName(name)
}

fn put(number: u32, bytes: usize) -> RowWrite {
    let sealed = SealedEntry { name: name(number), key: KEY, bytes: vec![0x2a; bytes] };
    RowWrite { sealed, others: Vec::new(), spent: i64::from(number) }
}

struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("alpha.calls")
    }

    fn open(&self, max_bytes: u64, ring: &[SealKeyId]) -> FileResult<DiskFile> {
        DiskFile::open(&self.path(), max_bytes, ring)
    }

    fn bytes(&self) -> u64 {
        let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        length(&self.path()) + length(&journal(&self.path()))
    }
}

fn has(file: &DiskFile, number: u32) -> bool {
    file.get(&[name(number)]).unwrap().is_some()
}

#[test]
fn what_was_put_is_there_when_it_is_opened_again_under_whichever_name() {
    let scratch = Scratch::new();
    let mut file = scratch.open(MAX, &[KEY]).unwrap();
    assert_eq!(file.put(&[put(1, 1300), put(2, 10)]).unwrap(), RemovedRows::default());
    let other = RowWrite { others: vec![name(1)], ..put(3, 1300) };
    assert_eq!(file.put(&[other]).unwrap(), RemovedRows { evicted: 0, replaced: 1 });
    drop(file);
    let file = scratch.open(MAX, &[KEY]).unwrap();
    let row = file.get(&[name(9), name(3)]).unwrap().unwrap();
    assert_eq!((row.key, row.spent, row.sealed.len()), (KEY, 3, 1300));
    assert_eq!((has(&file, 1), has(&file, 2), file.size().unwrap().entries), (false, true, 2));
}

#[test]
fn the_oldest_make_room_and_the_file_never_grows_beyond_its_bound() {
    // `DISK_WRITES=n` writes so many.
    let writes: u32 = std::env::var("DISK_WRITES").ok().and_then(|n| n.parse().ok()).unwrap_or(4000);
    let scratch = Scratch::new();
    let mut file = scratch.open(MAX, &[KEY]).unwrap();
    let (ends, mut random) = (AtomicBool::new(false), fastrand::Rng::with_seed(1));
    let sampled = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut largest = 0;
            while !ends.load(Ordering::SeqCst) {
                largest = largest.max(scratch.bytes());
                std::thread::yield_now();
            }
            largest
        });
        let (mut number, mut evicted): (u32, u64) = (0, 0);
        while number < writes {
            let largest = usize::try_from(file.bounds.largest_entry()).unwrap();
            let size = |random: &mut fastrand::Rng| match random.u32(..100) {
                0 => largest,
                1..10 => random.usize(..60_000),
                _ => random.usize(..3000),
            };
            let puts: Vec<_> = (number..number + 20).map(|number| put(number, size(&mut random))).collect();
            let count = file.batch(puts.iter().map(|put| put.sealed.bytes.len()));
            let puts = &puts[..count];
            evicted += file.put(puts).unwrap().evicted;
            number += u32::try_from(count).unwrap();
            assert!(scratch.bytes() <= MAX, "{number}: {}", scratch.bytes());
        }
        ends.store(true, Ordering::SeqCst);
        let size = file.size().unwrap();
        assert_eq!(size.entries + evicted, u64::from(number));
        assert!(size.bytes > MAX / 2 && evicted > 0, "{size:?}");
        assert!(has(&file, number - 1) && !has(&file, 0));
        sampler.join().unwrap()
    });
    assert!((MAX / 2..=MAX).contains(&sampled), "{sampled}");
}

#[test]
fn of_what_was_removed_nothing_is_left_in_any_byte() {
    let scratch = Scratch::new();
    let mut file = scratch.open(MAX, &[KEY]).unwrap();
    for number in 0..50 {
        file.put(&[put(number, 5000)]).unwrap();
    }
    let canary = SealedEntry { name: name(99), key: KEY, bytes: b"canary42".repeat(1000) };
    file.put(&[RowWrite { sealed: canary, others: Vec::new(), spent: 9 }]).unwrap();
    let is_there = || {
        [scratch.path(), journal(&scratch.path())]
            .iter()
            .filter_map(|path| fs::read(path).ok())
            .any(|bytes| bytes.windows(8).any(|part| part == b"canary42"))
    };
    assert!(is_there());
    assert_eq!(file.remove(&[name(98), name(99)]).unwrap(), 1);
    file.make_last().unwrap();
    assert!(!is_there());
    assert_eq!(file.size().unwrap().entries, 50);
}

#[test]
fn what_is_spent_is_removed_and_the_rest_stays() {
    let scratch = Scratch::new();
    let mut file = scratch.open(MAX, &[KEY]).unwrap();
    for number in 0..600 {
        file.put(&[put(number, 20)]).unwrap();
    }
    let mut removed: u64 = 0;
    loop {
        match file.remove_spent(399).unwrap() {
            0 => break,
            more => removed += more,
        }
    }
    assert_eq!(
        (removed, file.size().unwrap().entries, has(&file, 399), has(&file, 400)),
        (400, 200, false, true)
    );
}

#[test]
fn another_account_or_a_smaller_bound_begins_anew() {
    let scratch = Scratch::new();
    let (other, third) = (SealKeyId([8; 16]), SealKeyId([9; 16]));
    let mut file = scratch.open(16 << 20, &[KEY, other]).unwrap();
    file.put(&[put(1, 10)]).unwrap();
    let of_other = SealedEntry { key: other, ..put(2, 10).sealed };
    file.put(&[RowWrite { sealed: of_other, others: Vec::new(), spent: 0 }]).unwrap();
    drop(file);
    let file = scratch.open(16 << 20, &[other, third]).unwrap();
    assert_eq!((has(&file, 1), has(&file, 2)), (false, true), "a key has left the ring");
    drop(file);
    assert_eq!(scratch.open(16 << 20, &[KEY]).err(), Some(FileFailure::Outdated));
    let mut file = scratch.open(16 << 20, &[third]).unwrap();
    assert_eq!(file.size().unwrap().entries, 0);
    for number in 0..120 {
        file.put(&[put(number, 100_000)]).unwrap();
    }
    drop(file);
    assert_eq!(scratch.open(MAX, &[third]).err(), Some(FileFailure::Outdated));
}

#[test]
fn a_file_is_held_by_one_at_a_time() {
    let scratch = Scratch::new();
    let file = scratch.open(MAX, &[KEY]).unwrap();
    assert_eq!(file.get(&[name(1)]).unwrap().map(|row| row.spent), None);
    // Another connection of this process stands in for another process.
    let other = Connection::open(scratch.path()).unwrap();
    let read = other.query_row("SELECT entries FROM count", [], |row| row.get::<_, i64>(0));
    assert_eq!(FileFailure::from(read.unwrap_err()), FileFailure::Held);
}
