//! What the tests share; README.md in this folder says which part is for what.

pub(crate) mod env;
pub(crate) mod gateway;
pub(crate) mod kinds;
pub(crate) mod proxy;
pub(crate) mod rng;
