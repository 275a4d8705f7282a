/** What cutpoint throws. */
package dev.cutpoint.core.error;
