use super::*;

type Table = Arc<SingleFlight<u32, &'static str>>;
type Leading = (LeaderGuard<u32, &'static str>, Follower<&'static str>);

/// Nothing is stored.
fn nothing() -> ControlFlow<(), ()> {
    ControlFlow::Continue(())
}

fn lead(table: &Table, key: u32) -> Leading {
    match table.join(&key, StoreMode::Store, nothing) {
        Joined::Lead { guard, follower, seen: () } => (guard, follower),
        Joined::Follow(_) | Joined::Stored(()) => panic!("there is a leader already"),
    }
}

#[cfg(not(feature = "loom"))]
fn follow(table: &Table, key: u32, mode: StoreMode) -> Follower<&'static str> {
    match table.join(&key, mode, nothing) {
        Joined::Follow(follower) => follower,
        Joined::Lead { .. } | Joined::Stored(()) => panic!("there is no leader"),
    }
}

#[cfg(not(feature = "loom"))]
mod alone {
    use super::*;

    #[tokio::test]
    async fn followers_get_the_leaders_answer() {
        let table: Table = SingleFlight::new();
        let (guard, leader) = lead(&table, 1);
        let followers = [follow(&table, 1, StoreMode::Store), follow(&table, 1, StoreMode::Store)];
        assert!(table.is_in_flight(&1) && !table.is_in_flight(&2));
        guard.complete(|_, completion| {
            assert_eq!(completion, Completion::Current(StoreMode::Store));
            "answer"
        });
        assert_eq!(leader.wait().await, Ok("answer"));
        for follower in followers {
            assert_eq!(follower.wait().await, Ok("answer"));
        }
        assert!(!table.is_in_flight(&1));
    }

    #[tokio::test]
    async fn a_dropped_leader_frees_the_key_and_wakes_all_followers() {
        let table: Table = SingleFlight::new();
        let (guard, leader) = lead(&table, 1);
        let follower = follow(&table, 1, StoreMode::Store);
        drop(guard);
        assert_eq!((leader.wait().await, follower.wait().await), (Err(LeaderDropped), Err(LeaderDropped)));
        lead(&table, 1);
    }

    #[tokio::test]
    async fn a_purged_fetch_answers_its_followers_and_stores_nothing() {
        let table: Table = SingleFlight::new();
        let (guard, leader) = lead(&table, 1);
        assert_eq!(table.invalidate(&1, || "removed"), "removed");
        let (second, _) = lead(&table, 1);
        guard.complete(|_, completion| {
            assert_eq!(completion, Completion::Invalidated);
            "old"
        });
        assert_eq!(leader.wait().await, Ok("old"));
        assert!(table.is_in_flight(&1), "the later fetch is left alone");
        second.complete(|_, completion| {
            assert_eq!(completion, Completion::Current(StoreMode::Store));
            "new"
        });
    }

    #[test]
    fn one_request_without_no_store_is_enough_to_store() {
        let table: Table = SingleFlight::new();
        let mode_of = |modes: &[StoreMode]| {
            let mut guard = None;
            for mode in modes {
                if let Joined::Lead { guard: leading, .. } = table.join(&1, *mode, nothing) {
                    guard = Some(leading);
                }
            }
            let seen = std::sync::Mutex::new(None);
            guard.unwrap().complete(|_, completion| {
                *seen.lock().unwrap() = Some(completion);
                "answer"
            });
            seen.into_inner().unwrap().unwrap()
        };
        use StoreMode::{NoStore, Store};
        assert_eq!(mode_of(&[NoStore]), Completion::Current(NoStore));
        assert_eq!(mode_of(&[NoStore, NoStore]), Completion::Current(NoStore));
        assert_eq!(mode_of(&[NoStore, Store]), Completion::Current(Store));
        assert_eq!(mode_of(&[Store, NoStore]), Completion::Current(Store));
    }

    #[test]
    fn a_response_stored_since_the_caller_looked_is_found() {
        let table: Table = SingleFlight::new();
        assert!(matches!(
            table.join(&1, StoreMode::Store, || ControlFlow::<_, ()>::Break("stored")),
            Joined::Stored("stored")
        ));
        assert!(!table.is_in_flight(&1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_gives_up_does_not_affect_others() {
        let table: Table = SingleFlight::new();
        let (guard, leader) = lead(&table, 1);
        let follower = follow(&table, 1, StoreMode::Store);
        let deadline = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(deadline, leader.wait()).await.is_err());
        guard.complete(|_, _| "late");
        assert_eq!(follower.wait().await, Ok("late"));
    }
}

/// The store's content, as the single flight looks it up.
#[cfg(feature = "loom")]
fn found(store: &Mutex<Option<&'static str>>) -> ControlFlow<&'static str, ()> {
    store.lock().unwrap().map_or(ControlFlow::Continue(()), ControlFlow::Break)
}

/// Every interleaving of a completing fetch, a purge, and a lookup after the purge.
#[cfg(feature = "loom")]
#[test]
fn no_interleaving_brings_back_what_a_purge_removed() {
    loom::model(|| {
        let table: Table = SingleFlight::new();
        // The store's content, and whether the purge has returned.
        let store = Arc::new(Mutex::new(None::<&'static str>));
        let purged = Arc::new(loom::sync::atomic::AtomicBool::new(false));
        let (guard, early) = lead(&table, 1);

        let completing = loom::thread::spawn({
            let store = Arc::clone(&store);
            move || {
                guard.complete(|_, completion| {
                    if completion == Completion::Current(StoreMode::Store) {
                        *store.lock().unwrap() = Some("old");
                    }
                    "old"
                });
            }
        });
        let purging = loom::thread::spawn({
            let (table, store, purged) = (Arc::clone(&table), Arc::clone(&store), Arc::clone(&purged));
            move || {
                table.invalidate(&1, || store.lock().unwrap().take());
                purged.store(true, loom::sync::atomic::Ordering::SeqCst);
            }
        });

        let after_purge = purged.load(loom::sync::atomic::Ordering::SeqCst);
        let joined = table.join(&1, StoreMode::Store, || found(&store));
        match joined {
            Joined::Stored(found) => assert!(!after_purge, "{found} was served after the purge"),
            Joined::Follow(_) => assert!(!after_purge, "joined a fetch begun before the purge"),
            Joined::Lead { guard, .. } => drop(guard.complete(|_, completion| {
                if completion == Completion::Current(StoreMode::Store) {
                    *store.lock().unwrap() = Some("new");
                }
                "new"
            })),
        }
        completing.join().unwrap();
        purging.join().unwrap();
        assert_ne!(*store.lock().unwrap(), Some("old"), "the purge was undone");
        assert_eq!(early.now(), Some("old"), "who asked before the purge still gets an answer");
    });
}

/// Every interleaving of two concurrent lookups and the completion of the leader's fetch.
#[cfg(feature = "loom")]
#[test]
fn no_interleaving_fetches_twice_what_was_stored_once() {
    loom::model(|| {
        let table: Table = SingleFlight::new();
        let store = Arc::new(Mutex::new(None::<&'static str>));
        let fetches = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let ask = |table: &Table,
                   store: &Arc<Mutex<Option<&'static str>>>,
                   fetches: &Arc<loom::sync::atomic::AtomicUsize>| {
            if let Joined::Lead { guard, .. } = table.join(&1, StoreMode::Store, || found(&store)) {
                fetches.fetch_add(1, loom::sync::atomic::Ordering::SeqCst);
                guard.complete(|_, _| {
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

/// Every interleaving of a dropped leader, a follower, and the next lookup.
#[cfg(feature = "loom")]
#[test]
fn no_interleaving_leaves_a_dropped_fetch_behind() {
    loom::model(|| {
        let table: Table = SingleFlight::new();
        let (guard, _leader) = lead(&table, 1);
        let lost = loom::thread::spawn(move || drop(guard));
        let asking = loom::thread::spawn({
            let table = Arc::clone(&table);
            move || drop(table.join(&1, StoreMode::Store, nothing))
        });
        drop(table.join(&1, StoreMode::NoStore, nothing));
        lost.join().unwrap();
        asking.join().unwrap();
        assert!(!table.is_in_flight(&1));
    });
}
