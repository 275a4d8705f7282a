/** The connection to the server: the protocol on a WebSocket, kept up in the background. */
package dev.cutpoint.core.link;
