//! Random sequences: the possible events, and their frequencies.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A client sends a request.
    Ask(Ask),
    /// The upstream answers one of the pending requests; the number selects it.
    Answer(usize, Answer),
    /// A waiting client disconnects.
    Disconnect(usize),
    /// Time passes, on both clocks.
    Pass(u16),
    /// The wall clock is stepped.
    SetWallClock(i32),
    /// A call of a tenant is purged.
    PurgeCall(usize, usize),
    /// A tenant is purged.
    PurgeTenant(usize),
    /// An entry is evicted.
    Evict(usize, usize),
    /// The configuration is reloaded: a tenant's key may differ.
    Reload(usize, NewKey),
}

/// The effect of a reload on a tenant's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewKey {
    /// Nothing.
    Same,
    /// It is replaced.
    Other,
}

/// A client's request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// 0 or 1; 2 is unauthenticated.
    pub tenant: usize,
    pub call: usize,
    pub demands: Vec<RequestDirectives>,
    pub condition: Option<Condition>,
}

/// A directive of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestDirectives {
    NoCache,
    NoStore,
    OnlyIfCached,
    MaxAge(u32),
    MinFresh(u32),
    MaxStale(Option<u32>),
}

/// A client's `If-None-Match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// The last tag that the client was given for this call.
    Last,
    /// Any.
    Star,
    /// One that matches nothing.
    Bogus,
}

/// An upstream answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub what: What,
    pub words: Vec<Word>,
    /// The `Age` field.
    pub age: Option<u32>,
    /// How old the `Date` field is.
    pub dated: Option<u32>,
    /// Whether it has an entity tag.
    pub tagged: bool,
}

/// The kind of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A completed call that changed this many seconds before the answer; `None`: unknown.
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
pub(super) enum Word {
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

pub(super) fn sequences() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 2..14)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => ask().prop_map(Step::Ask),
        8 => (0..4_usize, answer()).prop_map(|(which, answer)| Step::Answer(which, answer)),
        4 => select(vec![1_u16, 4, 6, 26, 31, 45, 70, 130, 400, 1100]).prop_map(Step::Pass),
        1 => (0..4_usize).prop_map(Step::Disconnect),
        1 => select(vec![-500_000, -5000, 5000, 100_000]).prop_map(Step::SetWallClock),
        1 => (0..2_usize, 0..2_usize).prop_map(|(tenant, call)| Step::PurgeCall(tenant, call)),
        1 => (0..2_usize).prop_map(Step::PurgeTenant),
        1 => (0..2_usize, 0..2_usize).prop_map(|(tenant, call)| Step::Evict(tenant, call)),
        1 => (0..2_usize, select(vec![NewKey::Same, NewKey::Other])).prop_map(|(tenant, key)| Step::Reload(tenant, key)),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let tenant = prop_oneof![12 => Just(0_usize), 4 => Just(1), 1 => Just(2)];
    let call = prop_oneof![5 => Just(0_usize), 1 => Just(1)];
    let demands = prop_oneof![3 => Just(Vec::new()), 1 => vec(directives(), 1..3)];
    let condition = option::weighted(0.2, select(vec![Condition::Last, Condition::Star, Condition::Bogus]));
    (tenant, call, demands, condition).prop_map(|(tenant, call, demands, condition)| Ask {
        tenant,
        call,
        demands,
        condition,
    })
}

fn directives() -> impl Strategy<Value = RequestDirectives> {
    prop_oneof![
        Just(RequestDirectives::NoCache),
        Just(RequestDirectives::NoStore),
        Just(RequestDirectives::OnlyIfCached),
        select(vec![0_u32, 1, 5, 30, 100]).prop_map(RequestDirectives::MaxAge),
        select(vec![0_u32, 5, 30, 100]).prop_map(RequestDirectives::MinFresh),
        option::of(select(vec![5_u32, 100, 1000])).prop_map(RequestDirectives::MaxStale),
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
