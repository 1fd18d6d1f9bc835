// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.TestKit;

namespace Fleece.Fuzz;

/// <summary>A defect that an oracle saw.</summary>
internal sealed class FuzzFindingException(string message) : Exception(message);

/// <summary>Something that reads what strangers wrote, with an oracle.</summary>
internal abstract class FuzzTarget
{
    /// <summary>Most an input may make the engine allocate in all, with what the oracle itself takes.</summary>
    private const long MaximumAllocatedBytes = 256L * 1024 * 1024;

    /// <summary>Its name.</summary>
    public abstract string Name { get; }

    /// <summary>The name of its folder in the corpus.</summary>
    protected virtual string CorpusName => Name;

    /// <summary>How many mutated inputs the smoke tries.</summary>
    public abstract int SmokeCases { get; }

    /// <summary>Runs one input; a <see cref="BlockException"/> of a kind that an input deserves is no finding.</summary>
    /// <exception cref="Exception">A finding.</exception>
    public async ValueTask RunAsync(byte[] input)
    {
        long beforeBytes = GC.GetTotalAllocatedBytes();
        await JudgeAsync(input).ConfigureAwait(false);
        long allocatedBytes = GC.GetTotalAllocatedBytes() - beforeBytes;
        if (allocatedBytes > MaximumAllocatedBytes)
        {
            throw new FuzzFindingException($"{input.Length} bytes of input made it allocate {allocatedBytes} bytes.");
        }
    }

    /// <summary>What mutation starts from: the corpus, and what the target makes itself.</summary>
    public virtual IReadOnlyList<byte[]> Seeds()
    {
        string folder = Path.Combine(AppContext.BaseDirectory, "Corpus", CorpusName);
        return Directory.Exists(folder)
            ? [.. Directory.GetFiles(folder).Order(StringComparer.Ordinal).Select(File.ReadAllBytes)]
            : [];
    }

    /// <summary>The form in which a fuzzer of bytes gets an input.</summary>
    public virtual byte[] Pack(byte[] input) => input;

    /// <summary>A new input: by default one or two of the seeds, mutated.</summary>
    public virtual byte[] Make(Seeds random, IReadOnlyList<byte[]> seeds) => Mutator.Mutate(random, seeds);

    /// <summary>Runs one input and throws for what no input may cause.</summary>
    protected abstract ValueTask JudgeAsync(byte[] input);
}
