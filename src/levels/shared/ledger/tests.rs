use super::*;

const EPOCH: Epoch = Epoch { number: 3, random: 9 };
const TAG: TenantTag = TenantTag([1; 16]);

fn tenant(name: &str) -> TenantName {
    TenantName::parse(name).unwrap()
}

fn call(number: usize) -> CallId {
    CallId::parse(format!("call_{number}").as_bytes()).unwrap()
}

fn target(number: usize) -> PurgeTarget {
    PurgeTarget::Call(tenant("alpha"), call(number))
}

fn at(record: u64) -> Mark {
    Mark { epoch: EPOCH, record }
}

/// A gateway that has read these records.
fn ledger(records: &[PurgeTarget]) -> PurgeLedger {
    let ledger = PurgeLedger::default();
    ledger.enter(EPOCH, 0);
    for (number, target) in (1..).zip(records) {
        ledger.note(number, [1; 8], Some(target.clone()));
        ledger.advance(number);
    }
    ledger.set_caught_up(true);
    ledger
}

fn admits(ledger: &PurgeLedger, number: usize, record: u64) -> bool {
    ledger.admits(&tenant("alpha"), TAG, &call(number), at(record))
}

#[test]
fn an_entry_is_admitted_if_it_is_not_older_than_any_purge_that_concerns_it() {
    let others = PurgeTarget::Tenant(tenant("beta"));
    let ledger = ledger(&[target(1), others, PurgeTarget::Tenant(tenant("alpha")), target(2)]);
    assert!(!admits(&ledger, 1, 2) && admits(&ledger, 1, 3));
    assert!(!admits(&ledger, 2, 3) && admits(&ledger, 2, 4));
    assert!(ledger.admits(&tenant("gamma"), TAG, &call(1), at(0)));
    assert!(!ledger.admits(&tenant("beta"), TAG, &call(1), at(1)));
    ledger.note(5, [1; 8], Some(PurgeTarget::All));
    assert!(!ledger.admits(&tenant("gamma"), TAG, &call(1), at(4)));
}

#[test]
fn nothing_is_admitted_from_another_epoch_or_before_the_log_was_read() {
    let ledger = ledger(&[]);
    let other = Mark { epoch: Epoch { number: 3, random: 8 }, record: 7 };
    assert!(!ledger.admits(&tenant("alpha"), TAG, &call(1), other));
    assert!(admits(&ledger, 1, 0) && ledger.mark() == Some(at(0)));
    ledger.set_caught_up(false);
    assert!(!admits(&ledger, 1, 0) && ledger.mark().is_none());
    assert!(PurgeLedger::default().mark().is_none());
}

#[test]
fn the_newest_trimmed_record_of_a_tenant_is_its_floor() {
    let ledger = ledger(&[target(1), target(2), target(1)]);
    ledger.trim(2, [(TAG, 2)]);
    assert!(!admits(&ledger, 7, 1) && admits(&ledger, 7, 2), "what records 1 and 2 purged is not known");
    assert!(!admits(&ledger, 1, 2), "record 3 is still known");
    assert!(ledger.admits(&tenant("beta"), TenantTag([2; 16]), &call(1), at(0)));
    ledger.trim(3, [(TenantTag::ALL, 3)]);
    assert!(!ledger.admits(&tenant("beta"), TenantTag([2; 16]), &call(1), at(2)));
}

#[test]
fn from_its_beginning_to_its_record_a_purge_admits_nothing() {
    let ledger = ledger(&[]);
    let mut record = ledger.raise(target(1));
    assert!(!admits(&ledger, 1, 0) && admits(&ledger, 2, 0));
    let owed = ledger.owed(10);
    assert_eq!(owed.len(), 1);
    ledger.announced(&owed[0], 1);
    assert!(record.try_recv().is_err(), "its record was not read yet");
    assert!(!admits(&ledger, 1, 0) && ledger.count_owed() == 0);
    ledger.note(1, [1; 8], Some(target(1)));
    ledger.advance(1);
    assert_eq!(record.try_recv().unwrap(), at(1));
    assert!(!admits(&ledger, 1, 0) && admits(&ledger, 1, 1));
}

#[test]
fn a_purge_whose_record_another_one_has_taken_is_announced_again() {
    let ledger = ledger(&[]);
    let mut record = ledger.raise(target(1));
    ledger.announced(&ledger.owed(10)[0], 1);
    ledger.note(1, [2; 8], Some(target(2)));
    ledger.advance(1);
    assert!(record.try_recv().is_err() && ledger.count_owed() == 1 && !admits(&ledger, 1, 1));
    assert_eq!((ledger.chain(1), ledger.chain(2)), (Some([2; 8]), None));
}

#[test]
fn a_purge_that_is_repeated_while_it_is_announced_is_announced_again() {
    let ledger = ledger(&[]);
    let mut first = ledger.raise(target(1));
    let owed = ledger.owed(10);
    let mut second = ledger.raise(target(1));
    ledger.announced(&owed[0], 1);
    assert!(first.try_recv().is_err() && ledger.count_owed() == 1);
    ledger.advance(1);
    ledger.announced(&ledger.owed(10)[0], 2);
    ledger.advance(2);
    assert_eq!((first.try_recv().unwrap(), second.try_recv().unwrap()), (at(2), at(2)));
}

#[test]
fn another_epoch_owes_what_the_last_one_announced() {
    let ledger = ledger(&[]);
    drop(ledger.raise(target(1)));
    ledger.announced(&ledger.owed(10)[0], 1);
    ledger.enter(Epoch { number: 4, random: 1 }, 0);
    assert_eq!(ledger.count_owed(), 1);
}

#[test]
fn too_many_owed_purges_of_a_tenant_become_one_of_the_tenant_alone() {
    let ledger = ledger(&[]);
    drop(ledger.raise(PurgeTarget::Call(tenant("beta"), call(1))));
    let mut first = ledger.raise(target(0));
    for number in 1..MOST_OWED {
        drop(ledger.raise(target(number)));
    }
    assert_eq!(ledger.count_owed(), 2);
    assert!(!admits(&ledger, MOST_OWED + 7, 0), "the whole tenant is pending");
    assert!(ledger.admits(&tenant("beta"), TAG, &call(2), at(0)));
    for owed in ledger.owed(10) {
        ledger.announced(&owed, 1);
    }
    ledger.advance(1);
    assert_eq!(first.try_recv().unwrap(), at(1));
}

#[test]
fn a_file_loses_what_was_purged_since_it_was_cleaned() {
    let ledger = ledger(&[target(1), target(2), target(3)]);
    let missed = |position| ledger.missed(&tenant("alpha"), TAG, position);
    let MissedPurges::Calls(mut calls) = missed(Some(at(1))) else { panic!("it can be told") };
    calls.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    assert_eq!(calls, [call(2), call(3)]);
    assert_eq!(missed(Some(at(3))), MissedPurges::Calls(Vec::new()));
    assert_eq!(missed(None), MissedPurges::Everything);
    let former = Mark { epoch: Epoch { number: 2, random: 9 }, record: 3 };
    assert_eq!(missed(Some(former)), MissedPurges::Everything);
    ledger.trim(2, [(TAG, 2)]);
    assert_eq!(missed(Some(at(1))), MissedPurges::Everything, "record 2 is no longer known");
    assert_eq!(missed(Some(at(2))), MissedPurges::Calls(vec![call(3)]));
    ledger.note(4, [1; 8], Some(PurgeTarget::All));
    assert_eq!(missed(Some(at(3))), MissedPurges::Everything);
}

#[test]
fn a_generation_is_the_fleets_and_the_tenants() {
    let ledger = ledger(&[]);
    assert_eq!(ledger.generation(TAG), None);
    ledger.set_generations(HashMap::from([(TenantTag::ALL, [1; 16]), (TAG, [2; 16])]));
    let both = [[1; 16], [2; 16]].concat();
    assert_eq!(ledger.generation(TAG), Some(NameGeneration(both.try_into().unwrap())));
    assert_eq!(ledger.generation(TenantTag([7; 16])), None);
}
