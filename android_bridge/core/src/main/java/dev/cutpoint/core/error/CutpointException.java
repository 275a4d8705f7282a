package dev.cutpoint.core.error;

/**
 * Root of every exception that cutpoint throws on purpose. The message names the thing and the remedy.
 *
 * <pre>
 * CutpointException
 *  ├── CodecException                 a codec cannot do what was asked
 *  │    ├── BitstreamException        bytes that no encoder wrote
 *  │    ├── TableException            malformed entropy tables
 *  │    └── SymbolException           symbols whose shape or type is not their model's
 *  ├── BundleException                a bundle is damaged, incomplete, too new, or not what was asked for
 *  ├── InputException                 a picture, tensor or option that the caller gave cannot be used
 *  ├── GraphException                 a runtime refused a graph file, or failed while running it
 *  ├── ProtocolException
 *  │    ├── LocalProtocolException    this side tried to send what the protocol does not allow
 *  │    └── RemoteProtocolException   the other side did
 *  ├── LinkException                  there is no connection, or it went away
 *  └── RefusedException               the server answered with a typed error; {@link Refusal} names it
 * </pre>
 *
 * <p>They are unchecked, because most of them reach the caller through a future.
 */
public class CutpointException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public CutpointException(String message) {
        super(message);
    }

    public CutpointException(String message, Throwable cause) {
        super(message, cause);
    }
}
