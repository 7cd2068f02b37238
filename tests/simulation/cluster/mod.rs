//! A fake kernel and fake Node workers around the real primary: does every connection find its worker, whatever happens?

mod exhaustive;
mod laws;
mod node;
mod random;
mod world;
