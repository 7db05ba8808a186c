//! Capture against real pipes: what ffmpeg writes into them is what the topics hold, byte for byte, and whatever
//! producers, the device or the log do, it is taken up again or said to be missing.

#[path = "../away/mod.rs"]
mod away;
mod bytes;
mod faults;
mod sessions;
mod support;
