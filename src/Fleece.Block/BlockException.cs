// SPDX-License-Identifier: MIT
namespace Fleece.Block;

/// <summary>The one exception of the engine (rule R4): a kind for code, a message for people.</summary>
/// <remarks>The message names what happened, to which file, at which offset, and what to do next. It may repeat a stranger's text, and
/// goes to terminals and clients, so it is <see cref="PrintableText"/>; <see cref="Path"/> is exact.</remarks>
#pragma warning disable CA1032 // A kind is mandatory, so the parameterless standard constructors have no meaning here.
public sealed class BlockException : Exception
{
    /// <summary>Makes the exception.</summary>
    /// <param name="kind">What happened.</param>
    /// <param name="message">Whole sentences for the user; the path is appended when the text does not hold it.</param>
    /// <param name="path">The file concerned, or null.</param>
    /// <param name="offsetBytes">The offset concerned, or null.</param>
    /// <param name="operation">The operation that failed ("read", "open"), or null.</param>
    /// <param name="cause">The exception beneath, or null.</param>
    public BlockException(
        string kind,
        string message,
        string? path = null,
        long? offsetBytes = null,
        string? operation = null,
        Exception? cause = null)
        : base(PrintableText.Of(WithPath(message, path)), cause)
    {
        Kind = kind;
        Path = path;
        OffsetBytes = offsetBytes;
        Operation = operation;
    }

    /// <summary>What happened.</summary>
    public string Kind { get; }

    /// <summary>The file concerned, or null.</summary>
    public string? Path { get; }

    /// <summary>The offset concerned, or null.</summary>
    public long? OffsetBytes { get; }

    /// <summary>The operation that failed, or null.</summary>
    public string? Operation { get; }

    /// <summary>
    /// The kind of the innermost engine exception: for <see cref="BlockErrors.Broken"/>,
    /// <see cref="BlockErrors.CopyFailed"/> and <see cref="BlockErrors.TempFull"/> that is the reason behind it.
    /// </summary>
    public string RootKind => (InnerException as BlockException)?.RootKind ?? Kind;

    private static string WithPath(string message, string? path) =>
        path is null || message.Contains(path, StringComparison.Ordinal) ||
        message.Contains(PrintableText.Of(path), StringComparison.Ordinal)
            ? message
            : $"{message} File: '{path}'.";
}
