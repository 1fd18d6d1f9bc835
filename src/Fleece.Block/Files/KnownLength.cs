// SPDX-License-Identifier: MIT
namespace Fleece.Block.Files;

/// <summary>The length that an open file has at least, by which a file is told that another program has cut short.</summary>
/// <remarks>
/// <para>It is raised when the file has become longer, and lowered before the file is made shorter. So it is never more than the file has
/// where the file's owner alone changes the length.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
/// <param name="find">Asks the system for the length.</param>
/// <param name="describe">The error for a file that ends at an offset, and a number of bytes that are missing.</param>
internal sealed class KnownLength(Func<long> find, Func<long, long, BlockException> describe)
{
    private long _leastBytes;
    private volatile BlockException? _cut;

    /// <summary>The length so far.</summary>
    public long LeastBytes => Volatile.Read(ref _leastBytes);

    /// <summary>What was cut off, when it was found; null for nothing. It stays.</summary>
    public BlockException? Cut => _cut;

    /// <summary>The file is about to become so long at most.</summary>
    public void Lower(long lengthBytes) => Volatile.Write(ref _leastBytes, Math.Min(lengthBytes, LeastBytes));

    /// <summary>The file has become so long at least.</summary>
    public void Raise(long lengthBytes)
    {
        for (long known = LeastBytes; lengthBytes > known;)
        {
            long found = Interlocked.CompareExchange(ref _leastBytes, lengthBytes, known);
            if (found == known)
            {
                return;
            }

            known = found;
        }
    }

    /// <summary>Asks whether another program has cut the file short.</summary>
    /// <returns>As <see cref="Cut"/>; null also where the system does not tell the length.</returns>
    public BlockException? FindCut()
    {
        try
        {
            if (_cut is null && find() < LeastBytes)
            {
                // The owner may have changed the length between the two looks. The file is cut where the least length is the same before
                // and behind a look at the file.
                long leastBytes = LeastBytes;
                long lengthBytes = find();
                if (lengthBytes < leastBytes && leastBytes == LeastBytes)
                {
                    Interlocked.CompareExchange(ref _cut, describe(lengthBytes, leastBytes - lengthBytes), null);
                }
            }

            return _cut;
        }
        catch (BlockException)
        {
            return null;
        }
    }
}
