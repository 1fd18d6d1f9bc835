// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Block;

namespace Fleece.Hosting.Rpc;

/// <summary>JSON-RPC over a stream, as Fleece.Rpc implements it.</summary>
/// <remarks>Fleece.Rpc and the libraries under it live in a load context of their own, so only this contract is known here. A message is
/// four bytes of length, big-endian, and JSON-RPC 2.0 in UTF-8.</remarks>
internal interface IRpcLibrary
{
    /// <summary>Takes a connected stream. Nothing is read from it before <see cref="IRpcConnection.Start"/>.</summary>
    /// <param name="stream">The socket; the connection owns it.</param>
    /// <param name="targets">Interfaces with the object that answers their methods; a method's name is the request's, and arguments go
    /// by the parameters' names. A missing argument takes the parameter's default value, or null where that is allowed; an unknown one is
    /// ignored. A cancellation token is the caller's, and is cancelled too when the connection ends.</param>
    /// <param name="json">How arguments and answers are written.</param>
    /// <param name="limits">What a peer may ask for.</param>
    IRpcConnection Open(Stream stream, IReadOnlyList<RpcTarget> targets, JsonSerializerOptions json, RpcLimits limits);
}

/// <summary>One connection.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal interface IRpcConnection : IAsyncDisposable
{
    /// <summary>Completes when the connection has ended, whatever the reason; never fails.</summary>
    Task Ended { get; }

    /// <summary>Begins to read.</summary>
    void Start();

    /// <summary>Calls a method of the other side.</summary>
    /// <param name="method">Its name.</param>
    /// <param name="arguments">An object whose properties are the arguments.</param>
    /// <param name="cancellationToken">Asks the other side to give up, and waits until it has.</param>
    /// <exception cref="BlockException">The other side's error, as it was there; HostErrors.CallInterrupted: the connection ended before
    /// an answer came.</exception>
    ValueTask<T> CallAsync<T>(string method, object arguments, CancellationToken cancellationToken);

    /// <summary>Tells the other side something; no answer comes. A method that returns nothing is called in the order of the
    /// messages, and must not block. Nothing happens when the connection has ended; where as many messages wait for the peer as calls may
    /// run at once, it ends.</summary>
    ValueTask NotifyAsync(string method, object arguments);
}

/// <summary>The object that answers the methods of an interface.</summary>
internal sealed record RpcTarget(Type Contract, object Target);

/// <summary>What a peer may ask for.</summary>
/// <param name="MaximumMessageBytes">Longest message that is read; a longer one ends the connection.</param>
/// <param name="MaximumCalls">Most calls that run at once; more are answered with HostErrors.Overloaded.</param>
internal sealed record RpcLimits(int MaximumMessageBytes, int MaximumCalls)
{
    /// <summary>Longest message that is sent; a longer one is an error of the call, and the connection goes on.</summary>
    public int MaximumSentBytes { get; init; } = MaximumMessageBytes;

    /// <summary>Longest message that is read before the first request has been answered without an error, and longest one that is not
    /// large.</summary>
    public int SmallMessageBytes { get; init; } = MaximumMessageBytes;

    /// <summary>Large requests that are read and not yet answered, over all connections with the same instance; null for no bound. As JSON
    /// is read it takes many times its length. A connection has one of them at a time.</summary>
    public SemaphoreSlim? LargeRequests { get; init; }

    /// <summary>How long a peer may leave a message unread before the connection ends.</summary>
    public TimeSpan WriteTimeout { get; init; } = TimeSpan.FromSeconds(30);
}
