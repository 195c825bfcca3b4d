//! Failing disks and killed processes: the disk level loses entries, and no answer changes.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::proxy::{Fault, Proxy};
use crate::support::{Config, Disk, Gateway, TOKENS, Upstream, call_reply, eventually, needed, warm};

const MISS: &str = "fwd=uri-miss; fwd-status=200; stored; ttl";
const FROM_DISK: &str = "hit; ttl; detail=disk";
const ON_ERROR: &str = "hit; ttl; detail=stale-if-error";

fn is_up(gateway: &Gateway) -> bool {
    gateway.metric("level_up{level=\"disk\"}") == 1.0
}

fn problems(gateway: &Gateway) -> Vec<String> {
    let stats = gateway.admin("/api/v1/stats").json();
    let problems = stats["problems"].as_array().unwrap().iter();
    problems.map(|problem| problem["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_outage_right_after_a_deploy_is_answered_from_the_disk() {
    let (upstream, disk) = (
        Upstream::scripted(|seen| {
            call_reply(seen.id(), &["Cache-Control: max-age=1, stale-while-revalidate=0", "Age: 100"])
        }),
        Disk::new(),
    );
    let proxy = Proxy::to(upstream.address());
    let calls: Vec<_> = (0..50).map(|number| format!("call_{number}")).collect();
    let gateway = Gateway::start(&disk.config(), proxy.address());
    for id in &calls {
        assert_eq!(gateway.get(id).status, 200);
    }
    gateway.wait_for_written(calls.len());
    gateway.stop();
    proxy.now(Fault::Refuse);
    let gateway = Gateway::start(&disk.config(), proxy.address());
    for id in &calls {
        let answer = gateway.get(id);
        assert_eq!((answer.status, answer.story().as_str()), (200, ON_ERROR), "{id}");
        assert_eq!(answer.json()["data"]["id"], id.as_str());
    }
    assert_eq!(upstream.count(), calls.len());
    assert_eq!(gateway.metric("lookups_covered_total{tenant=\"alpha\"}"), calls.len() as f64);
}

// F41. `DISK_KILLS=n` sets the number of kills.
#[test]
fn a_process_that_is_killed_while_it_writes_loses_nothing_of_a_second_before() {
    let kills = std::env::var("DISK_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(3);
    let (upstream, disk) = (Upstream::contract(), Disk::new());
    let mut written: Vec<String> = Vec::new();
    for round in 0..kills {
        let gateway = disk.config().start(&upstream);
        let begun = Instant::now();
        for id in &written {
            assert_eq!(gateway.get(id).story(), FROM_DISK, "round {round}: {id}");
        }
        if round > 0 {
            assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        }
        written = (0..20).map(|number| format!("call_r{round}n{number}")).collect();
        for id in &written {
            assert_eq!(gateway.get(id).story(), MISS);
        }
        gateway.wait_for_written(written.len());
        assert_eq!((gateway.recalls("invalid"), gateway.recalls("error")), (0.0, 0.0), "round {round}");
        let ends = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (gateway, ends) = (&gateway, &ends);
                scope.spawn(move || {
                    let Some(mut client) = crate::support::Client::try_connect(gateway.data) else { return };
                    for number in 0.. {
                        let path = format!("/v1/calls/call_k{round}t{thread}n{number}");
                        client.try_send(format!(
                            "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
                            TOKENS[0]
                        ));
                        if client.try_read().is_none() || ends.load(Ordering::SeqCst) {
                            return;
                        }
                    }
                });
            }
            let series = "level_writes_total{level=\"disk\",result=\"stored\",tenant=\"alpha\"}";
            eventually("it is busy writing", || gateway.metric(series) > 60.0);
            gateway.process.signal("KILL");
            ends.store(true, Ordering::SeqCst);
        });
    }
    let gateway = disk.config().start(&upstream);
    for id in &written {
        assert_eq!(gateway.get(id).story(), FROM_DISK, "{id}");
    }
}

// F44.
#[test]
fn the_file_of_a_process_that_ends_is_taken_over() {
    let (upstream, disk) = (Upstream::contract(), Disk::new());
    let old = disk.config().start(&upstream);
    old.get("call_1");
    old.wait_for_written(1);
    let new = disk.config().start(&upstream);
    assert_eq!(new.get("call_2").story(), MISS, "served from memory");
    eventually("the new one knows that the file is held", || !is_up(&new));
    assert!(problems(&new).contains(&"level-down".to_owned()));
    let purged = new.delete("/api/v1/cache/alpha/call_9");
    assert_eq!((purged.status, purged.code().as_str()), (503, "PURGE_INCOMPLETE"));
    assert_eq!(purged.json()["error"]["details"]["unerased"][0], "alpha");
    assert_eq!(old.get("call_1").story(), "hit; ttl");
    old.stop();
    let released = Instant::now();
    eventually("the new one takes the file over", || is_up(&new));
    assert!(released.elapsed() < Duration::from_secs(2), "{:?}", released.elapsed());
    assert_eq!(new.get("call_1").story(), FROM_DISK);
    assert_eq!(new.delete("/api/v1/cache/alpha/call_9").status, 200);
}

// M06.
#[test]
fn what_was_purged_while_another_process_held_the_file_does_not_come_back_from_it() {
    let (upstream, disk) = (Upstream::contract(), Disk::new());
    let old = disk.config().start(&upstream);
    for id in ["call_1", "call_2"] {
        old.get(id);
    }
    old.wait_for_written(2);
    let new = disk.config().start(&upstream);
    assert_eq!(new.delete("/api/v1/cache/alpha/call_1").status, 503);
    old.stop();
    eventually("the new one takes the file over", || is_up(&new));
    assert_eq!((new.get("call_1").story().as_str(), new.get("call_2").story().as_str()), (MISS, FROM_DISK));
}

// F43.
#[test]
fn a_broken_file_is_begun_anew() {
    type Spoil = fn(&std::path::Path);
    let spoils: [(&str, Spoil); 5] = [
        ("garbage", |file| std::fs::write(file, vec![0x5a; 100_000]).unwrap()),
        ("truncated", |file| std::fs::File::options().write(true).open(file).unwrap().set_len(5000).unwrap()),
        ("overwritten in the middle", |file| {
            let mut bytes = std::fs::read(file).unwrap();
            let len = bytes.len();
            bytes[4096..len].fill(0xff);
            std::fs::write(file, bytes).unwrap();
        }),
        ("a directory", |file| {
            std::fs::remove_file(file).unwrap();
            std::fs::create_dir(file).unwrap();
        }),
        ("a link", |file| {
            let elsewhere = file.with_extension("elsewhere");
            std::fs::rename(file, &elsewhere).unwrap();
            std::os::unix::fs::symlink(&elsewhere, file).unwrap();
        }),
    ];
    for (what, spoil) in spoils {
        let (upstream, disk) = (Upstream::contract(), Disk::new());
        warm(&disk.config(), &upstream, &["call_1", "call_2"]);
        spoil(&disk.file("alpha"));
        let gateway = disk.config().start(&upstream);
        assert_eq!(gateway.get("call_1").story(), MISS, "{what}");
        gateway.wait_for_written(1);
        assert!(is_up(&gateway), "{what}");
        gateway.process.err_line("one warning", |line| line.contains("begun anew"));
        gateway.stop();
        let gateway = disk.config().start(&upstream);
        assert_eq!(gateway.get("call_1").story(), FROM_DISK, "{what}");
        assert!(std::fs::symlink_metadata(disk.file("alpha")).unwrap().is_file(), "{what}");
    }
}

// T120, T121.
#[test]
fn no_bit_of_a_file_that_differs_is_ever_served() {
    let (upstream, disk) = (Upstream::scripted(|seen| call_reply(seen.id(), &[])), Disk::new());
    let calls: Vec<_> = (0..10).map(|number| format!("call_{number}")).collect();
    warm(&disk.config(), &upstream, &calls.iter().map(String::as_str).collect::<Vec<_>>());
    let whole = std::fs::read(disk.file("alpha")).unwrap();
    for round in 0..8 {
        let mut spoilt = whole.clone();
        for _ in 0..40 {
            let place = fastrand::usize(..spoilt.len());
            spoilt[place] ^= 1 << fastrand::u8(..8);
        }
        std::fs::write(disk.file("alpha"), spoilt).unwrap();
        let gateway = disk.config().start(&upstream);
        for id in &calls {
            let answer = gateway.get(id);
            assert_eq!((answer.status, answer.text()), (200, crate::support::call(id)), "round {round}");
        }
        gateway.stop();
    }
}

// F42.
#[test]
fn a_directory_that_cannot_be_used_costs_nothing_but_the_level() {
    let upstream = Upstream::contract();
    let disk = Disk::new();
    std::fs::create_dir(disk.path()).unwrap();
    let mode = |mode| std::fs::set_permissions(disk.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o777);
    let missing = Config::default().with("disk", "path = \"/nonexistent/directory/level\"");
    for (config, cause) in [(disk.config(), "mode 0700"), (missing, "does not exist")] {
        let gateway = config.start(&upstream);
        assert_eq!(gateway.get("call_1").story(), MISS);
        assert_eq!(gateway.get("call_1").story(), "hit; ttl");
        let warning = gateway.process.err_line("a warning", |line| line.contains("disk level"));
        assert!(warning.contains(cause), "{warning}");
        assert!(!is_up(&gateway) && gateway.admin("/readyz").status == 200);
        assert!(gateway.admin("/readyz?verbose").text().contains("[!] level-down (alpha"));
    }
    let gateway = disk.config().start(&upstream);
    gateway.get("call_1");
    eventually("it is down", || !is_up(&gateway));
    mode(0o700);
    eventually("it is in use once the directory is as it must be", || is_up(&gateway));
    gateway.get("call_2");
    gateway.wait_for_written(1);
}

// F42.
#[test]
fn a_full_disk_costs_nothing_but_the_level() {
    let (upstream, disk) = (Upstream::contract(), Disk::new());
    let small = disk.path().parent().unwrap().display().to_string();
    let mount = format!("mount -t tmpfs -o size=160k tmpfs {small} && exec \"$@\"");
    let starter = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &mount, "sh"];
    let mut tried = std::process::Command::new(starter[0]);
    let tried =
        tried.args(&starter[1..]).arg("true").output().and_then(|output| match output.status.success() {
            true => Ok(()),
            false => Err(std::io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
        });
    // Containers without this right are common, so the test is skipped there even where all programs are needed.
    if tried.is_err()
        && needed("unshare", std::process::Command::new("unshare").arg("--version").output()).is_some()
    {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), b"SKIPPED: no mounts may be made here\n");
        return;
    }
    let gateway = disk.config().under(&starter).start(&upstream);
    for number in 0..300 {
        assert_eq!(gateway.get(&format!("call_{number}")).status, 200);
    }
    eventually("writes fail", || {
        gateway.metric("level_writes_total{level=\"disk\",result=\"failed\",tenant=\"alpha\"}") > 0.0
    });
    assert_eq!(gateway.get("call_299").story(), "hit; ttl");
    assert_eq!(gateway.outcomes("hit") + gateway.outcomes("miss"), 301.0);
}

#[test]
fn files_stay_within_their_size_while_calls_are_written() {
    let (upstream, disk) = (Upstream::contract(), Disk::new());
    let gateway = disk.config_with("max_bytes_per_tenant = \"8MiB\"").start(&upstream);
    let ends = AtomicBool::new(false);
    let largest = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut largest = 0;
            while !ends.load(Ordering::SeqCst) {
                largest = largest.max(disk.size());
                std::thread::sleep(Duration::from_millis(5));
            }
            largest
        });
        let mut client = gateway.connect();
        for number in 0..1000 {
            let answer = client.get(&format!("/v1/calls/call_{number}"), TOKENS[0], &[]).read();
            assert_eq!(answer.status, 200);
        }
        ends.store(true, Ordering::SeqCst);
        sampler.join().unwrap()
    });
    assert!((100_000..=8 << 20).contains(&largest), "{largest}");
    let blocks = std::fs::metadata(disk.file("alpha")).unwrap().blocks();
    assert!(blocks * 512 <= 8 << 20);
}

// F46, T131.
#[test]
fn ids_that_do_not_exist_leave_nothing_on_the_disk() {
    let (upstream, disk) = (Upstream::contract(), Disk::new());
    let gateway = disk.config().start(&upstream);
    for number in 0..200 {
        assert_eq!(gateway.get(&format!("call_missing{number}")).status, 404);
    }
    assert_eq!(gateway.metric("level_writes_total{level=\"disk\",result=\"stored\",tenant=\"alpha\"}"), 0.0);
    assert_eq!(gateway.metric("disk_entries{tenant=\"alpha\"}"), 0.0);
}
