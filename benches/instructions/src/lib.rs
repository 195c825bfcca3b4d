//! Empty: the benches are all there is here.
