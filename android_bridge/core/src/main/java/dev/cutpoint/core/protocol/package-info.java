/** The protocol, without I/O: docs/protocol.md. Events in, bytes out; bytes in, events out. Internal. */
package dev.cutpoint.core.protocol;
