/** What an app plugs in: something that runs graph files, and something that writes picture files. */
package dev.cutpoint.core.runtime;
