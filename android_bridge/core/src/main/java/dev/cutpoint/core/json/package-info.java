/**
 * A small strict JSON reader and writer, internal. {@code org.json} of Android takes things that are no JSON and is not
 * on a plain JVM; reflective libraries need keep rules. Both ends must refuse the same files.
 */
package dev.cutpoint.core.json;
