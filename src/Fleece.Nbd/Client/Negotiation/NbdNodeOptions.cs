// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Tls;

namespace Fleece.Nbd.Client.Negotiation;

/// <summary>How a <see cref="NbdNode"/> connects, and how patient it is.</summary>
internal sealed record NbdNodeOptions
{
    /// <summary>Certificates for <c>nbds</c> addresses; null trusts the system's roots and shows no certificate.</summary>
    public TlsClientOptions? Tls { get; init; }

    /// <summary>True refuses all changes here, whatever the server allows.</summary>
    public bool IsReadOnly { get; init; }

    /// <summary>Connections to share the work between, 1 to 16; more than one only where the server says that it keeps them
    /// consistent (CAN_MULTI_CONN).</summary>
    public int MaximumConnections { get; init; } = 2;

    /// <summary>How long connecting and shaking hands may take.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long requests wait for a lost connection to come back before they fail with
    /// <see cref="NbdErrors.ConnectionLost"/>; <see cref="TimeSpan.Zero"/> never reconnects, and the first loss ends the
    /// node; <see cref="Timeout.InfiniteTimeSpan"/> waits for ever.</summary>
    public TimeSpan ReconnectTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>True asks for the names of all contexts as well, which a description shows and no request needs.</summary>
    internal bool ListsContexts { get; init; }

    /// <summary>The dirty bitmap whose context (<see cref="MetaContexts.QemuDirtyBitmap"/>) is asked for in place of the others; null for
    /// the others. A status query is answered for all contexts of its connection, and where the others refuse a range they would fail it.
    /// </summary>
    internal string? DirtyBitmap { get; init; }

    /// <summary>The kind of the error where the server calls a request invalid (EINVAL). Well-formed requests are no such thing, so a
    /// server may mean something of its own by it.</summary>
    internal string InvalidKind { get; init; } = BlockErrors.IoFailed;

    /// <summary>True where the server tells the kinds of its errors (<see cref="KindTexts"/>): they come out here as they were there.
    /// </summary>
    internal bool ReadsKinds { get; init; }

    /// <summary>How long a cancelled request may stay unanswered before its connection is given up.</summary>
    internal TimeSpan CancelGrace { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>Where time comes from; tests have their own.</summary>
    internal TimeProvider Time { get; init; } = TimeProvider.System;

    internal void Check()
    {
        if (MaximumConnections is < 1 or > 16)
        {
            throw Invalid($"{nameof(MaximumConnections)} is {MaximumConnections}; it must be 1 to 16.");
        }

        if (ConnectTimeout <= TimeSpan.Zero || ConnectTimeout > TimeSpan.FromDays(1))
        {
            throw Invalid($"{nameof(ConnectTimeout)} is {ConnectTimeout}; it must be more than zero and at most a day.");
        }

        if (ReconnectTimeout < TimeSpan.Zero && ReconnectTimeout != Timeout.InfiniteTimeSpan)
        {
            throw Invalid($"{nameof(ReconnectTimeout)} is {ReconnectTimeout}; it must not be negative.");
        }
    }

    private static BlockException Invalid(string message) => new(BlockErrors.InvalidArgument, message);
}
