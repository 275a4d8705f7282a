/** The device's half of the codecs: tensors to payloads. Internal. */
package dev.cutpoint.core.codec;
