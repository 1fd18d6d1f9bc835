// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece.Nbd.Client;

/// <summary>Connects again after a loss: how often, how long, and to which exports.</summary>
/// <remarks>Threading. Safe for concurrent use; one caller at a time dials. Its lock may be taken while that of
/// <see cref="ConnectionSet"/> is held, never the other way round.</remarks>
internal sealed class Reconnector(NbdUri uri, NbdNodeOptions options)
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);

    private static long s_reconnectCount;

    private readonly Lock _gate = new();
    private readonly Dialer _dialer = new(uri, options);
    private int _fruitlessAttempts;
    private BlockException? _lastLoss;

    /// <summary>Connections of this process that were lost and made again.</summary>
    public static long ReconnectCount => Volatile.Read(ref s_reconnectCount);

    private bool NeverGivesUp => options.ReconnectTimeout == Timeout.InfiniteTimeSpan;

    /// <summary>A connection was lost.</summary>
    /// <param name="failure">Why.</param>
    /// <param name="hadAnswered">True when it had answered a request, so that the next attempt is worth making at once.</param>
    public void NoteLoss(BlockException failure, bool hadAnswered)
    {
        lock (_gate)
        {
            _lastLoss = failure;
            _fruitlessAttempts = hadAnswered ? 0 : _fruitlessAttempts;
        }
    }

    /// <summary>True when a request has waited as long as it may since its connection was first lost.</summary>
    public bool IsTooLate(long interruptedAt) =>
        !NeverGivesUp && options.Time.GetElapsedTime(interruptedAt) > options.ReconnectTimeout;

    /// <summary>Dials until a server answers with the export that there was, for the time that requests may wait.</summary>
    /// <param name="first">The agreement of the first connection.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>The connection; null when the time is over.</returns>
    /// <exception cref="BlockException">Another attempt would meet the same: the server broke the protocol or fails TLS, or has another
    /// export.</exception>
    public async ValueTask<NbdLink?> DialAsync(AgreedExport first, CancellationToken cancellationToken)
    {
        long startedAt = options.Time.GetTimestamp();
        NbdLink? link = null;
        while (link is null)
        {
            TimeSpan pause = NextPause();
            TimeSpan left = NeverGivesUp ? TimeSpan.MaxValue : options.ReconnectTimeout - options.Time.GetElapsedTime(startedAt);
            if (pause >= left)
            {
                lock (_gate)
                {
                    _fruitlessAttempts = 0;
                }

                return null;
            }

            await Task.Delay(pause, options.Time, cancellationToken).ConfigureAwait(false);
            link = await TryDialAsync(left - pause, cancellationToken).ConfigureAwait(false);
        }

        if (link.Export.CanStandInFor(first))
        {
            Interlocked.Increment(ref s_reconnectCount);
            return link;
        }

        await link.DisposeAsync().ConfigureAwait(false);
        throw new BlockException(
            NbdErrors.ConnectionLost,
            $"The server at '{uri}' came back with another export: {Describe(link.Export)} in place of {Describe(first)}" +
            $"{DescribeIdentity(link.Export, first)}. " +
            "Nothing more is read from it or written to it; open it anew.",
            uri.ToString());
    }

    /// <summary>The failure of requests that have waited in vain.</summary>
    public BlockException GaveUp()
    {
        BlockException? last;
        lock (_gate)
        {
            last = _lastLoss;
        }

        return RequestErrors.ConnectionLost(
            uri,
            $"it did not come back within {options.ReconnectTimeout.TotalSeconds:0.#} seconds. The last attempt: {last?.Message}",
            last);
    }

    private async ValueTask<NbdLink?> TryDialAsync(TimeSpan left, CancellationToken cancellationToken)
    {
        try
        {
            TimeSpan timeout = left < options.ConnectTimeout ? left : options.ConnectTimeout;
            return await _dialer.DialAsync(timeout, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException failure) when (!IsFinal(failure))
        {
            lock (_gate)
            {
                _lastLoss = failure;
            }

            return null;
        }
    }

    /// <summary>Nothing before the first attempt; then 100 ms, doubling to 5 s, of which up to half is left out by chance so that
    /// many clients do not come back at once.</summary>
    private TimeSpan NextPause()
    {
        int attempt;
        lock (_gate)
        {
            attempt = _fruitlessAttempts++;
        }

        double longest = FirstPause.TotalMilliseconds * Math.Pow(2, attempt - 1);
        return attempt == 0
            ? TimeSpan.Zero
            : TimeSpan.FromMilliseconds(Math.Min(longest, LongestPause.TotalMilliseconds) * (0.5 + Random.Shared.NextDouble() / 2));
    }

    // Another attempt would meet these again. A connection that ended during TLS may also have met a server that went down.
    private static bool IsFinal(BlockException failure) =>
        failure.Kind == NbdErrors.ProtocolViolated ||
        (failure.Kind == NbdErrors.TlsFailed && failure.InnerException is not IOException);

    private static string DescribeIdentity(AgreedExport export, AgreedExport first) =>
        IdentityQuery.FindDifference(export.Identity, first.Identity) is { Length: not 0 } keys
            ? $", with another identity ({string.Join(", ", keys)})"
            : string.Empty;

    private static string Describe(AgreedExport export) =>
        $"{export.LengthBytes} bytes{(export.IsReadOnly ? " read-only" : string.Empty)}, flags 0x{(ushort)export.Flags:x4}, " +
        $"{export.Form} replies, blocks of {export.AlignmentBytes} bytes";
}
