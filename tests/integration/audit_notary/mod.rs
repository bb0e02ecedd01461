mod covers;
mod crash;
mod faults;
mod killed;
mod refuses;
mod scene;
mod signs;
