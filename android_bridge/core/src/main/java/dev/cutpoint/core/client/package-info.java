/** The client: pictures in, answers out, wherever they come from. */
package dev.cutpoint.core.client;
