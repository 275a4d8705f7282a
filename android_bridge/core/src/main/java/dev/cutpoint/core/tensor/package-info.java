/** Arrays of numbers and what describes them. */
package dev.cutpoint.core.tensor;
