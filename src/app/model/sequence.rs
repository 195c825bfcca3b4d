//! Random sequences: what can happen, and how often.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Step {
    /// A client asks.
    Ask(Ask),
    /// The upstream answers one of the requests that wait there; the number picks which.
    Answer(usize, Answer),
    /// A client that waits leaves.
    Leave(usize),
    /// Time passes, on both clocks.
    Pass(u16),
    /// The calendar is stepped.
    Recalendar(i32),
    /// A call of a tenant is purged.
    PurgeCall(usize, usize),
    /// A tenant is purged.
    PurgeTenant(usize),
    /// An entry leaves the store to make room.
    Evict(usize, usize),
    /// The configuration is read again: a tenant's key may be another.
    Reload(usize, NewKey),
}

/// What a reload does to a tenant's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewKey {
    /// Nothing.
    Same,
    /// It is replaced.
    Other,
}

/// A client's request.
#[derive(Debug, Clone)]
pub struct Ask {
    /// 0 or 1; 2 is a stranger.
    pub tenant: usize,
    pub call: usize,
    pub demands: Vec<Demand>,
    pub condition: Option<Condition>,
}

/// A directive of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    NoCache,
    NoStore,
    OnlyIfCached,
    MaxAge(u32),
    MinFresh(u32),
    MaxStale(Option<u32>),
}

/// A client's `If-None-Match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The tag that the client was last given for this call.
    Last,
    /// Any.
    Star,
    /// One that nothing has.
    Bogus,
}

/// An upstream answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub what: What,
    pub words: Vec<Word>,
    /// The `Age` field.
    pub age: Option<u32>,
    /// How old the `Date` field is.
    pub dated: Option<u32>,
    /// Whether it has a tag of the upstream's.
    pub tagged: bool,
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A completed call that changed so many seconds before the answer; `None`: unknown.
    Completed(Option<i32>),
    InProgress,
    NotSuccess,
    AnotherCall,
    Duplicate,
    NoJson,
    VariesByAll,
    NotModified,
    Missing,
    Forbidden,
    Gone,
    KeyRejected,
    BadRequest,
    ServerError,
    Redirect,
    Partial,
    /// 429 with `Retry-After`.
    TooMany(u32),
    Reset,
}

/// A directive of the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    MaxAge(u32),
    SharedMaxAge(u32),
    UnreadableMaxAge,
    NoCache,
    NoStore,
    MustRevalidate,
    StaleWhileRevalidate(u32),
    StaleIfError(u32),
    Private,
}

pub fn sequences() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 2..14)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => ask().prop_map(Step::Ask),
        8 => (0..4_usize, answer()).prop_map(|(which, answer)| Step::Answer(which, answer)),
        4 => select(vec![1_u16, 4, 6, 26, 31, 45, 70, 130, 400, 1100]).prop_map(Step::Pass),
        1 => (0..4_usize).prop_map(Step::Leave),
        1 => select(vec![-500_000, -5000, 5000, 100_000]).prop_map(Step::Recalendar),
        1 => (0..2_usize, 0..2_usize).prop_map(|(tenant, call)| Step::PurgeCall(tenant, call)),
        1 => (0..2_usize).prop_map(Step::PurgeTenant),
        1 => (0..2_usize, 0..2_usize).prop_map(|(tenant, call)| Step::Evict(tenant, call)),
        1 => (0..2_usize, select(vec![NewKey::Same, NewKey::Other])).prop_map(|(tenant, key)| Step::Reload(tenant, key)),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let tenant = prop_oneof![12 => Just(0_usize), 4 => Just(1), 1 => Just(2)];
    let call = prop_oneof![5 => Just(0_usize), 1 => Just(1)];
    let demands = prop_oneof![3 => Just(Vec::new()), 1 => vec(demand(), 1..3)];
    let condition = option::weighted(0.2, select(vec![Condition::Last, Condition::Star, Condition::Bogus]));
    (tenant, call, demands, condition).prop_map(|(tenant, call, demands, condition)| Ask {
        tenant,
        call,
        demands,
        condition,
    })
}

fn demand() -> impl Strategy<Value = Demand> {
    prop_oneof![
        Just(Demand::NoCache),
        Just(Demand::NoStore),
        Just(Demand::OnlyIfCached),
        select(vec![0_u32, 1, 5, 30, 100]).prop_map(Demand::MaxAge),
        select(vec![0_u32, 5, 30, 100]).prop_map(Demand::MinFresh),
        option::of(select(vec![5_u32, 100, 1000])).prop_map(Demand::MaxStale),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let what = prop_oneof![
        8 => select(vec![Some(100_000), Some(10), Some(-5000), None]).prop_map(What::Completed),
        3 => Just(What::NotModified),
        6 => select(vec![
            What::InProgress, What::NotSuccess, What::AnotherCall, What::Duplicate, What::NoJson, What::VariesByAll,
            What::Missing, What::Missing, What::Forbidden, What::Gone, What::KeyRejected, What::BadRequest,
            What::Redirect, What::Partial,
        ]),
        3 => select(vec![What::ServerError, What::Reset, What::TooMany(7)]),
    ];
    let words = prop_oneof![2 => Just(Vec::new()), 3 => vec(word(), 1..4)];
    let age = option::weighted(0.2, select(vec![0_u32, 3, 50, 500]));
    let dated = option::weighted(0.2, select(vec![0_u32, 20, 200]));
    (what, words, age, dated, any::<bool>()).prop_map(|(what, words, age, dated, tagged)| Answer {
        what,
        words,
        age,
        dated,
        tagged,
    })
}

fn word() -> impl Strategy<Value = Word> {
    prop_oneof![
        6 => select(vec![0_u32, 5, 30, 100]).prop_map(Word::MaxAge),
        1 => select(vec![5_u32, 30]).prop_map(Word::SharedMaxAge),
        1 => Just(Word::UnreadableMaxAge),
        1 => Just(Word::NoCache),
        1 => Just(Word::NoStore),
        1 => Just(Word::MustRevalidate),
        1 => Just(Word::Private),
        1 => select(vec![0_u32, 10, 500]).prop_map(Word::StaleWhileRevalidate),
        1 => select(vec![0_u32, 10, 500]).prop_map(Word::StaleIfError),
    ]
}
