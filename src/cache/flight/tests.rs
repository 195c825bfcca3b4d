use super::*;

type Table = Arc<Flights<u32, &'static str>>;

fn lead(table: &Table, key: u32) -> (Pilot<u32, &'static str>, Passenger<&'static str>) {
    match table.board(&key, Storing::Wanted, || None::<()>) {
        Boarding::Leader(pilot, passenger) => (pilot, passenger),
        Boarding::Follower(_) | Boarding::Found(()) => panic!("somebody leads already"),
    }
}

#[cfg(not(feature = "loom"))]
fn follow(table: &Table, key: u32, storing: Storing) -> Passenger<&'static str> {
    match table.board(&key, storing, || None::<()>) {
        Boarding::Follower(passenger) => passenger,
        Boarding::Leader(..) | Boarding::Found(()) => panic!("nobody leads"),
    }
}

#[cfg(not(feature = "loom"))]
mod alone {
    use super::*;

    #[tokio::test]
    async fn followers_get_the_leaders_answer() {
        let table: Table = Flights::new();
        let (pilot, leader) = lead(&table, 1);
        let followers = [follow(&table, 1, Storing::Wanted), follow(&table, 1, Storing::Wanted)];
        assert!(table.is_under_way(&1) && !table.is_under_way(&2));
        pilot.land(|landing| {
            assert_eq!(landing, Landing::Current(Storing::Wanted));
            "answer"
        });
        assert_eq!(leader.wait().await, Ok("answer"));
        for follower in followers {
            assert_eq!(follower.wait().await, Ok("answer"));
        }
        assert!(!table.is_under_way(&1));
    }

    #[tokio::test]
    async fn a_leader_that_is_lost_frees_the_key_and_tells_all_who_wait() {
        let table: Table = Flights::new();
        let (pilot, leader) = lead(&table, 1);
        let follower = follow(&table, 1, Storing::Wanted);
        drop(pilot);
        assert_eq!((leader.wait().await, follower.wait().await), (Err(Lost), Err(Lost)));
        lead(&table, 1);
    }

    #[tokio::test]
    async fn a_purged_fetch_answers_who_waits_and_stores_nothing() {
        let table: Table = Flights::new();
        let (pilot, leader) = lead(&table, 1);
        assert_eq!(table.purge(&1, || "removed"), "removed");
        let (second, _) = lead(&table, 1);
        pilot.land(|landing| {
            assert_eq!(landing, Landing::Purged);
            "old"
        });
        assert_eq!(leader.wait().await, Ok("old"));
        assert!(table.is_under_way(&1), "the later fetch is left alone");
        second.land(|landing| {
            assert_eq!(landing, Landing::Current(Storing::Wanted));
            "new"
        });
    }

    #[test]
    fn one_on_board_who_wants_it_stored_is_enough() {
        let table: Table = Flights::new();
        let storing_of = |storings: &[Storing]| {
            let mut pilot = None;
            for storing in storings {
                if let Boarding::Leader(leading, _) = table.board(&1, *storing, || None::<()>) {
                    pilot = Some(leading);
                }
            }
            let seen = std::sync::Mutex::new(None);
            pilot.unwrap().land(|landing| {
                *seen.lock().unwrap() = Some(landing);
                "answer"
            });
            seen.into_inner().unwrap().unwrap()
        };
        use Storing::{Unwanted, Wanted};
        assert_eq!(storing_of(&[Unwanted]), Landing::Current(Unwanted));
        assert_eq!(storing_of(&[Unwanted, Unwanted]), Landing::Current(Unwanted));
        assert_eq!(storing_of(&[Unwanted, Wanted]), Landing::Current(Wanted));
        assert_eq!(storing_of(&[Wanted, Unwanted]), Landing::Current(Wanted));
    }

    #[test]
    fn what_landed_since_the_caller_looked_is_found() {
        let table: Table = Flights::new();
        assert!(matches!(table.board(&1, Storing::Wanted, || Some("stored")), Boarding::Found("stored")));
        assert!(!table.is_under_way(&1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_gives_up_harms_nobody() {
        let table: Table = Flights::new();
        let (pilot, leader) = lead(&table, 1);
        let follower = follow(&table, 1, Storing::Wanted);
        let deadline = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(deadline, leader.wait()).await.is_err());
        pilot.land(|_| "late");
        assert_eq!(follower.wait().await, Ok("late"));
    }
}

/// Every interleaving of a fetch that lands, a purge, and a request that comes after the purge.
#[cfg(feature = "loom")]
#[test]
fn no_interleaving_brings_back_what_a_purge_removed() {
    loom::model(|| {
        let table: Table = Flights::new();
        // What the store has, and whether the purge has returned.
        let store = Arc::new(Mutex::new(None::<&'static str>));
        let purged = Arc::new(loom::sync::atomic::AtomicBool::new(false));
        let (pilot, early) = lead(&table, 1);

        let landing = loom::thread::spawn({
            let store = Arc::clone(&store);
            move || {
                pilot.land(|landing| {
                    if landing == Landing::Current(Storing::Wanted) {
                        *store.lock().unwrap() = Some("old");
                    }
                    "old"
                });
            }
        });
        let purging = loom::thread::spawn({
            let (table, store, purged) = (Arc::clone(&table), Arc::clone(&store), Arc::clone(&purged));
            move || {
                table.purge(&1, || store.lock().unwrap().take());
                purged.store(true, loom::sync::atomic::Ordering::SeqCst);
            }
        });

        let after_purge = purged.load(loom::sync::atomic::Ordering::SeqCst);
        let boarding = table.board(&1, Storing::Wanted, || *store.lock().unwrap());
        match boarding {
            Boarding::Found(found) => assert!(!after_purge, "{found} was served after the purge"),
            Boarding::Follower(_) => assert!(!after_purge, "joined a fetch begun before the purge"),
            Boarding::Leader(pilot, _) => pilot.land(|landing| {
                if landing == Landing::Current(Storing::Wanted) {
                    *store.lock().unwrap() = Some("new");
                }
                "new"
            }),
        }
        landing.join().unwrap();
        purging.join().unwrap();
        assert_ne!(*store.lock().unwrap(), Some("old"), "the purge was undone");
        assert_eq!(early.landed(), Some("old"), "who asked before the purge still gets an answer");
    });
}

/// Every interleaving of two who ask at once and the landing of whoever leads.
#[cfg(feature = "loom")]
#[test]
fn no_interleaving_fetches_twice_what_was_stored_once() {
    loom::model(|| {
        let table: Table = Flights::new();
        let store = Arc::new(Mutex::new(None::<&'static str>));
        let fetches = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let ask = |table: &Table,
                   store: &Arc<Mutex<Option<&'static str>>>,
                   fetches: &Arc<loom::sync::atomic::AtomicUsize>| {
            if let Boarding::Leader(pilot, _) = table.board(&1, Storing::Wanted, || *store.lock().unwrap()) {
                fetches.fetch_add(1, loom::sync::atomic::Ordering::SeqCst);
                pilot.land(|_| {
                    *store.lock().unwrap() = Some("answer");
                    "answer"
                });
            }
        };
        let askers: Vec<_> = (0..2)
            .map(|_| {
                let (table, store, fetches) = (Arc::clone(&table), Arc::clone(&store), Arc::clone(&fetches));
                loom::thread::spawn(move || ask(&table, &store, &fetches))
            })
            .collect();
        ask(&table, &store, &fetches);
        for asker in askers {
            asker.join().unwrap();
        }
        assert_eq!(fetches.load(loom::sync::atomic::Ordering::SeqCst), 1);
    });
}

/// Every interleaving of a leader that is lost, a follower, and the next who asks.
#[cfg(feature = "loom")]
#[test]
fn no_interleaving_leaves_a_lost_fetch_behind() {
    loom::model(|| {
        let table: Table = Flights::new();
        let (pilot, _leader) = lead(&table, 1);
        let lost = loom::thread::spawn(move || drop(pilot));
        let asking = loom::thread::spawn({
            let table = Arc::clone(&table);
            move || drop(table.board(&1, Storing::Wanted, || None::<()>))
        });
        drop(table.board(&1, Storing::Unwanted, || None::<()>));
        lost.join().unwrap();
        asking.join().unwrap();
        assert!(!table.is_under_way(&1));
    });
}
