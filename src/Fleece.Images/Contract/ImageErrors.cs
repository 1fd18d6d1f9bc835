// SPDX-License-Identifier: MIT
namespace Fleece.Images;

/// <summary>The kinds of errors that arise in image files.</summary>
public static class ImageErrors
{
    /// <summary>The image holds no bytes.</summary>
    public const string EmptyImage = nameof(EmptyImage);

    /// <summary>The image's size is not a multiple of 512 bytes.</summary>
    public const string BadImageSize = nameof(BadImageSize);

    /// <summary>The file's metadata contradicts its format.</summary>
    public const string Corrupt = nameof(Corrupt);

    /// <summary>The file is not of the format that was asked for.</summary>
    public const string WrongFormat = nameof(WrongFormat);

    /// <summary>The format cannot be told safely from the content; it must be named.</summary>
    public const string AmbiguousFormat = nameof(AmbiguousFormat);

    /// <summary>The image names a file that it may not use: a data file, or with -Untrusted a parent, outside its folder.</summary>
    public const string ReferenceRefused = nameof(ReferenceRefused);

    /// <summary>An image that is opened as a stranger's claims or costs more than its limits.</summary>
    public const string LimitExceeded = nameof(LimitExceeded);

    /// <summary>Sessions that were not ended lose their point in time when the image is written to here.</summary>
    public const string ImageHasSession = nameof(ImageHasSession);
}
