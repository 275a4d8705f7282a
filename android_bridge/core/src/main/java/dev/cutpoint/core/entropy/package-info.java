/**
 * The entropy coder: interleaved rANS with static tables, docs/bitstream.md. Writes the same bytes as every other
 * implementation; the golden vectors bind it.
 */
package dev.cutpoint.core.entropy;
