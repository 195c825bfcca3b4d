use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{DiskLevel, DiskThread, LevelAccount, RecallResult, TenantDisk};
use crate::config::{BaseUrl, UpstreamKey};
use crate::domain::{CallId, TenantName};
use crate::levels::EntryStamp;
use crate::telemetry::{LevelResult, TenantMetrics, WriteResult};

fn call(number: usize) -> CallId {
    CallId::parse(format!("call_{number}").as_bytes()).unwrap()
}

struct Part {
    disk: Arc<TenantDisk>,
    thread: DiskThread,
    metrics: Arc<TenantMetrics>,
}

fn part(level: &DiskLevel, tenant: &str) -> Part {
    let tenant = TenantName::parse(tenant).unwrap();
    let metrics = Arc::new(TenantMetrics::new(tenant.clone()));
    let keys = [UpstreamKey::new(&"key".into()).unwrap()];
    let url = BaseUrl::parse("https://api.credira.com").unwrap();
    let account = LevelAccount { tenant: &tenant, keys: &keys, url: &url };
    let disk = level.tenant(&account, 8 << 20, Duration::from_millis(50), &metrics);
    let thread = DiskThread::of(&disk);
    Part { disk, thread, metrics }
}

impl Part {
    fn store(&self, number: usize, bytes: usize) {
        let stamp = EntryStamp { mark: self.disk.mark().unwrap(), receipt: 1_700_000_000 };
        self.disk.store(&call(number), 0, stamp, i64::MAX, vec![0x2a; bytes]);
    }

    fn work(&mut self) {
        while self.thread.step() {}
    }

    /// The result of a recall, with the thread's work done.
    async fn recall(&mut self, number: usize) -> Result<usize, LevelResult> {
        let (disk, id) = (Arc::clone(&self.disk), call(number));
        let thread = async {
            tokio::task::yield_now().await;
            self.work();
        };
        match tokio::join!(disk.recall(&id, 0), thread).0 {
            RecallResult::Found(opened) => Ok(opened.bytes.len()),
            RecallResult::Nothing(result) => Err(result),
        }
    }

    fn written(&self, result: WriteResult) -> u64 {
        self.metrics.disk.writes().find(|(one, _)| *one == result).unwrap().1
    }
}

fn level(directory: &Path) -> Arc<DiskLevel> {
    DiskLevel::for_tests(&directory.join("level"))
}

// F46.
#[tokio::test(start_paused = true)]
async fn a_recall_that_takes_too_long_is_a_timeout_and_three_in_a_row_are_down() {
    let directory = tempfile::tempdir().unwrap();
    let mut part = part(&level(directory.path()), "alpha");
    part.store(1, 100);
    for _ in 0..3 {
        // The queue is not worked off: the disk hangs.
        let recalled = part.disk.recall(&call(1), 0).await;
        assert!(matches!(recalled, RecallResult::Nothing(LevelResult::Timeout)));
    }
    let began = crate::clock::now();
    assert!(matches!(part.disk.recall(&call(1), 0).await, RecallResult::Nothing(LevelResult::Down)));
    assert_eq!(crate::clock::now(), began, "it is not even asked");
    part.store(2, 100);
    assert_eq!((part.written(WriteResult::Dropped), part.disk.failure().is_some()), (1, true));
    part.work();
    assert!(part.disk.failure().is_none(), "it wrote what had waited");
    assert_eq!(part.recall(1).await, Ok(100));
    assert_eq!(part.recall(2).await, Err(LevelResult::Miss));
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_written_is_bounded_and_removals_are_never_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let level = level(directory.path());
    let (mut alpha, beta) = (part(&level, "alpha"), part(&level, "beta"));
    for number in 0..1024 {
        alpha.store(number, 10);
    }
    alpha.store(2000, 10);
    beta.store(1, 10);
    assert_eq!(
        (alpha.written(WriteResult::Dropped), beta.written(WriteResult::Dropped)),
        (1, 1),
        "one bound for all"
    );
    for number in 0..10 {
        alpha.disk.remove(&call(number));
    }
    alpha.work();
    assert_eq!(alpha.written(WriteResult::Stored), 1014, "what was removed meanwhile is not even written");
    assert_eq!((alpha.recall(9).await, alpha.recall(10).await), (Err(LevelResult::Miss), Ok(10)));
    for number in 0..5 {
        alpha.store(number, 1 << 20);
    }
    assert_eq!(alpha.written(WriteResult::Dropped), 12, "four mebibytes");
    alpha.work();
    assert_eq!(alpha.written(WriteResult::Dropped), 16, "each is larger than this file takes");
}

#[tokio::test(start_paused = true)]
async fn only_a_removal_of_something_or_a_purge_empties_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let mut part = part(&level(directory.path()), "alpha");
    let files = directory.path().join("level");
    let journal = || {
        let files = std::fs::read_dir(&files).unwrap().map(|file| file.unwrap());
        let journal = files.filter(|file| file.file_name().to_string_lossy().ends_with("-wal"));
        journal.map(|file| file.metadata().unwrap().len()).sum::<u64>()
    };
    part.store(1, 100);
    part.work();
    assert!(journal() > 0);
    part.disk.remove(&call(2));
    part.work();
    assert!(journal() > 0, "nothing was there");
    part.disk.remove(&call(1));
    part.work();
    assert_eq!(journal(), 0);
    part.store(1, 100);
    part.work();
    assert!(journal() > 0);
    let purge = part.disk.erase(part.disk.raise_call(&call(2)));
    part.work();
    assert_eq!(
        (purge.now(), journal()),
        (Some(Ok(0)), 0),
        "of a purged call not even what was replaced is left"
    );
}

#[tokio::test(start_paused = true)]
async fn at_most_64_files_are_open_and_idle_ones_give_way() {
    let directory = tempfile::tempdir().unwrap();
    let level = level(directory.path());
    let mut parts: Vec<_> = (0..65).map(|number| part(&level, &format!("tenant-{number}"))).collect();
    let (last, open) = parts.split_last_mut().unwrap();
    last.store(2, 10);
    last.work();
    last.thread.end();
    for part in &mut *open {
        part.store(1, 10);
        part.work();
    }
    assert_eq!(last.recall(1).await, Err(LevelResult::Down), "all were used just now");
    assert!(last.disk.failure().is_none(), "which is no failure");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(last.recall(1).await, Err(LevelResult::Down));
    open[0].work();
    assert_eq!(last.recall(1).await, Err(LevelResult::Miss), "the idlest has given way");
}

#[tokio::test(start_paused = true)]
async fn what_is_of_no_use_any_more_is_erased_by_a_sweep() {
    let directory = tempfile::tempdir().unwrap();
    let mut part = part(&level(directory.path()), "alpha");
    let stamp = EntryStamp { mark: part.disk.mark().unwrap(), receipt: 1_700_000_000 };
    part.disk.store(&call(1), 0, stamp, 1_700_000_100, vec![1; 10]);
    part.store(2, 10);
    part.work();
    let swept = part.disk.file().sweep();
    part.work();
    assert_eq!(swept.await, Ok(Ok(())));
    assert_eq!((part.recall(1).await, part.recall(2).await), (Err(LevelResult::Miss), Ok(10)));
    assert_eq!(part.metrics.disk.size().0, 1);
}
